//! Scraping local `/metrics`.
