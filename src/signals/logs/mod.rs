//! Tailed logs: files followed through rotation, lines counted into metrics.
