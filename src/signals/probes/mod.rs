//! Link probes as in blackbox_exporter: `probe_*`.
