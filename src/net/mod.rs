//! The one outbound HTTP, gRPC and TLS set-up: deadlines, body caps, name lookups, redaction, webhook signatures.
//!
//! Whoever talks to the world takes its client from here, so that no client is without a deadline, follows a redirect
//! that nobody asked for, or writes a secret into a message.

mod error;
pub(crate) mod grpc;
mod host;
mod http;
mod oauth;
mod resolve;
mod secret;
pub mod sign;
pub mod sigv4;
mod tls;
pub(crate) mod wire;

pub use error::{NetError, SendError, describe};
pub use host::host_name;
pub(crate) use http::credentials;
pub use http::{
    Authorization, BasicAuth, Client, HttpSettings, USER_AGENT, client, is_link_local, plain_client, read_capped,
};
pub use oauth::OAuth2;
pub use resolve::Resolver;
pub use secret::{Secret, SecretSource, origin, redact_url};
pub use tls::{TlsSettings, TlsVersion, install_crypto, tls_config};
