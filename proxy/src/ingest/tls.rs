//! TLS for what comes in: certificates from files, and the system's own trust.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use anyhow::Context as _;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    client::TlsStream,
    rustls::{
        self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig,
        SignatureScheme,
        client::{
            WebPkiServerVerifier,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::{self, CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    },
};

use crate::{config::Source, hub::Fault};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .with_context(|| format!("cannot read the certificate {}", path.display()))?
        .collect();
    let certificates = certificates.with_context(|| format!("{} is not PEM", path.display()))?;
    anyhow::ensure!(!certificates.is_empty(), "{} holds no certificate", path.display());
    Ok(certificates)
}

/// What answers TLS with the certificate and the key in these PEM files.
pub(super) fn acceptor(certificate: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("cannot read a private key from {}", key.display()))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .context("TLS")?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(|| {
            format!(
                "the certificate {} and the key {} do not belong together",
                certificate.display(),
                key.display()
            )
        })?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// What the system trusts (`SSL_CERT_FILE` is heeded), read once: it is some hundred files.
fn system() -> &'static RootCertStore {
    static SYSTEM: OnceLock<RootCertStore> = OnceLock::new();
    SYSTEM.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
}

/// What asks by TLS: it trusts what the system trusts, and the certificates in `trust`.
fn connector(trust: Option<&Path>) -> anyhow::Result<TlsConnector> {
    let mut roots = system().clone();
    let named = trust.map(certificates).transpose()?.unwrap_or_default();
    // One that is no authority's is still trusted as it is, see `Trust`.
    roots.add_parsable_certificates(named.iter().cloned());
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .context("TLS")?;
    let config = if roots.is_empty() {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Trust { named, chains: None }))
    } else {
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Trust { named, chains: Some(chains) }))
    };
    Ok(TlsConnector::from(Arc::new(config.with_no_client_auth())))
}

/// Speaks TLS with the source over a connection to it. `trust` is a certificate to trust beside the system's.
pub(super) async fn connect(
    source: &Source,
    trust: Option<&Path>,
    tcp: TcpStream,
) -> Result<TlsStream<TcpStream>, Fault> {
    let refused = |reason: String| Fault { code: "connect_failed", reason };
    let connector = connector(trust).map_err(|error| refused(format!("{error:#}")))?;
    let host = source.host().trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| refused(format!("{} is no name a certificate can be for", source.host())))?;
    connector.connect(name, tcp).await.map_err(|error| {
        let unknown = error.get_ref().and_then(|error| error.downcast_ref()).is_some_and(|error| {
            matches!(error, rustls::Error::InvalidCertificate(_))
        });
        let (host, port) = (source.host(), source.port());
        // Nearly every camera's certificate is one it signed itself, for a name nobody calls it by.
        let advice = if unknown {
            format!(
                ". If it is the camera's own, save it (openssl s_client -connect {host}:{port} </dev/null | \
                 openssl x509 > camera.pem), see that it is the one the camera's pages show, and write trust = \
                 \"camera.pem\" in its stream"
            )
        } else {
            String::new()
        };
        refused(format!("TLS with {host}:{port}: {error}{advice}"))
    })
}

/// Whom to believe: a certificate that was named, whatever it says of itself, or a chain to an authority.
///
/// A camera's certificate is mostly its own authority (which no verifier of chains takes for a server's), for another name
/// or none, and out of date; who names it means this very one.
#[derive(Debug)]
struct Trust {
    named: Vec<CertificateDer<'static>>,
    chains: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.named.iter().any(|named| named == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.chains {
            Some(chains) => {
                chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    // That the other end holds the certificate's key is proved all the same.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
