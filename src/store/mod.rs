//! The shared config store that holds the switches: one trait, the embedded store.
