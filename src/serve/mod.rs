//! HTTP: /metrics, the Prometheus API, OFREP, control, the page.
