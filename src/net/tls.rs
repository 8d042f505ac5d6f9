//! TLS of outgoing connections: rustls with ring. Who is trusted: the system's roots, or the `ca_file` alone.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::NetError;
use crate::limits;
use crate::time::Stopwatch;

/// Makes ring the process's only provider of cryptography. Call it first thing; more calls change nothing.
pub fn install_crypto() {
    // The only error is that a provider is installed already.
    let _ = ring::default_provider().install_default();
}

/// A TLS version. Older ones than 1.2 are not spoken: where a configuration asks for them, 1.2 is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

impl TlsVersion {
    /// Reads Prometheus' words: `TLS10` to `TLS13`.
    pub fn parse(word: &str) -> Option<TlsVersion> {
        match word {
            "TLS10" | "TLS11" | "TLS12" => Some(TlsVersion::Tls12),
            "TLS13" => Some(TlsVersion::Tls13),
            _ => None,
        }
    }
}

/// Prometheus' `tls_config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// The authorities to trust, PEM, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, PEM; goes with `key_file`.
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    /// The name that the server's certificate must have, when it is not the host's.
    pub server_name: Option<String>,
    pub insecure_skip_verify: bool,
    pub min_version: Option<TlsVersion>,
    pub max_version: Option<TlsVersion>,
}

/// Builds the client side of TLS. All files are read here; build again to read them again. It blocks for some
/// milliseconds (the system's roots): call it off the event loop where that matters.
///
/// A server certificate that is itself in `ca_file` is trusted as it is, as Go does.
///
/// # Errors
/// A file that cannot be read or used, or settings that contradict each other.
pub fn tls_config(settings: &TlsSettings) -> Result<ClientConfig, NetError> {
    let provider = Arc::new(ring::default_provider());
    let inner = inner_verifier(settings, &provider)?;
    let verifier = Verifier { inner, listed: listed(settings)?, name: None, provider: Arc::clone(&provider) };
    build(settings, provider, verifier)
}

/// As [`tls_config`], but checks the certificate against `server_name`: for clients that take the name from the URL.
/// The name indication that is sent stays the URL's.
pub(super) fn named_tls_config(settings: &TlsSettings) -> Result<ClientConfig, NetError> {
    let provider = Arc::new(ring::default_provider());
    let inner = inner_verifier(settings, &provider)?;
    let name = settings.server_name.clone().map(ServerName::try_from).transpose();
    let name = name.map_err(|_| NetError::Tls("server_name is no host name".to_owned()))?;
    let verifier = Verifier { inner, listed: listed(settings)?, name, provider: Arc::clone(&provider) };
    build(settings, provider, verifier)
}

fn build(settings: &TlsSettings, provider: Arc<CryptoProvider>, check: Verifier) -> Result<ClientConfig, NetError> {
    let least = settings.min_version.unwrap_or(TlsVersion::Tls12);
    let most = settings.max_version.unwrap_or(TlsVersion::Tls13);
    let versions: &[&rustls::SupportedProtocolVersion] = match (least, most) {
        (TlsVersion::Tls12, TlsVersion::Tls13) => &[&rustls::version::TLS13, &rustls::version::TLS12],
        (TlsVersion::Tls12, TlsVersion::Tls12) => &[&rustls::version::TLS12],
        (TlsVersion::Tls13, TlsVersion::Tls13) => &[&rustls::version::TLS13],
        (TlsVersion::Tls13, TlsVersion::Tls12) => {
            return Err(NetError::Tls("min_version is above max_version".to_owned()));
        }
    };
    let tls = |error: rustls::Error| NetError::Tls(error.to_string());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).map_err(tls)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(check));
    match (&settings.cert_file, &settings.key_file) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let chain = read_certificates("the certificate file", cert)?;
            builder.with_client_auth_cert(chain, read_key(key)?).map_err(|error| NetError::Content {
                what: "the certificate file",
                path: cert.clone(),
                problem: format!("does not go with the key file: {error}"),
            })
        }
        _ => Err(NetError::Tls("cert_file and key_file go together: give both or none".to_owned())),
    }
}

fn inner_verifier(
    settings: &TlsSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ServerCertVerifier>>, NetError> {
    if settings.insecure_skip_verify {
        return Ok(None);
    }
    let Some(path) = &settings.ca_file else { return system_verifier(provider).map(Some) };
    let mut roots = RootCertStore::empty();
    let bad = |problem: String| NetError::Content { what: "the CA file", path: path.clone(), problem };
    for certificate in read_certificates("the CA file", path)? {
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    Ok(Some(verifier.map_err(|error| bad(error.to_string()))?))
}

/// The system's authorities, and since when we know them.
type System = (Stopwatch, Arc<dyn ServerCertVerifier>);

/// One copy for all clients: reading them takes longer than anything else about a client, and is some hundred kilobytes.
static SYSTEM: Mutex<Option<System>> = Mutex::new(None);

fn system_verifier(provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, NetError> {
    let mut known = SYSTEM.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((read, verifier)) = &*known
        && read.elapsed() < limits::SYSTEM_ROOTS_AGE
    {
        return Ok(Arc::clone(verifier));
    }
    let verifier: Arc<dyn ServerCertVerifier> = match rustls_platform_verifier::Verifier::new(Arc::clone(provider)) {
        Ok(verifier) => Arc::new(verifier),
        Err(error) => {
            return Err(NetError::Tls(format!("cannot read the system's certificate authorities: {error}")));
        }
    };
    *known = Some((Stopwatch::start(), Arc::clone(&verifier)));
    Ok(verifier)
}

fn listed(settings: &TlsSettings) -> Result<Vec<CertificateDer<'static>>, NetError> {
    match &settings.ca_file {
        Some(path) if !settings.insecure_skip_verify => read_certificates("the CA file", path),
        _ => Ok(Vec::new()),
    }
}

fn read_certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, NetError> {
    let pem = read(what, path)?;
    let bad = |problem: &str| NetError::Content { what, path: path.to_owned(), problem: problem.to_owned() };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(bad("holds no PEM certificate")),
        Ok(found) => Ok(found),
        Err(_) => Err(bad("is not readable as PEM")),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, NetError> {
    let pem = read("the key file", path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| NetError::Content {
        what: "the key file",
        path: path.to_owned(),
        problem: "holds no PEM private key".to_owned(),
    })
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, NetError> {
    std::fs::read(path).map_err(|source| NetError::File { what, path: path.to_owned(), source })
}

/// Checks a server: by the roots, by being listed in the `ca_file` itself, or (insecure) not at all.
#[derive(Debug)]
struct Verifier {
    /// `None` when the certificate is not checked.
    inner: Option<Arc<dyn ServerCertVerifier>>,
    listed: Vec<CertificateDer<'static>>,
    /// Checked instead of the name that the connection was made for.
    name: Option<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(inner) = &self.inner else {
            return Ok(ServerCertVerified::assertion());
        };
        let name = self.name.as_ref().unwrap_or(server_name);
        let verdict = inner.verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
        // An expired certificate or a wrong name stays refused even when it is listed.
        let unchained = matches!(
            &verdict,
            Err(rustls::Error::InvalidCertificate(
                rustls::CertificateError::UnknownIssuer | rustls::CertificateError::Other(_)
            ))
        );
        if !unchained || !self.listed.iter().any(|cert| cert.as_ref() == end_entity.as_ref()) {
            return verdict;
        }
        valid_at(end_entity, now)?;
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn valid_at(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let refused = |why| Err(rustls::Error::InvalidCertificate(why));
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return refused(rustls::CertificateError::BadEncoding);
    };
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < parsed.validity().not_before.timestamp() {
        return refused(rustls::CertificateError::NotValidYet);
    }
    if now > parsed.validity().not_after.timestamp() {
        return refused(rustls::CertificateError::Expired);
    }
    Ok(())
}
