//! Delivers notifications: email, webhook; calls scale webhooks. Rendering is pure, delivery is I/O. Retry policy is the engine's.
