//! The one outbound HTTP and TLS set-up: deadlines, body caps, redaction.
