//! Encryption of the connections to the server, and verification of the server's certificate.
//!
//! `sslmode=verify-full` encrypts and accepts only a certificate for the server's name, issued by an authority of the system or
//! of `sslrootcert`. `sslmode=require` encrypts and accepts any certificate, as PostgreSQL's own clients do. Neither mode ever
//! falls back to an unencrypted connection.

use std::path::PathBuf;

use tokio_postgres::{
    Client, Config, NoTls,
    config::{Host, SslMode},
};

use crate::store::StoreError;

/// How connections are encrypted.
#[derive(Clone)]
pub(super) enum Tls {
    /// Not encrypted.
    Plain,
    /// By rustls, with this connector.
    #[cfg(feature = "tls-postgres")]
    Rustls(tokio_postgres_rustls::MakeRustlsConnect),
}

/// The encryption that a URL asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Not specified; allowed only for a server on the same machine.
    Unsaid,
    /// No encryption.
    Disable,
    /// Encryption, with any certificate.
    Require,
    /// Encryption, with a certificate for the server's name, issued by an authority in this file or by one of the system.
    VerifyFull(Option<PathBuf>),
}

/// Removes the encryption parameters from the URL, because the driver knows neither `verify-full` nor `sslrootcert`.
pub(super) fn take(url: &str) -> Result<(String, Wanted), StoreError> {
    let Some((place, query)) = url.split_once('?') else { return Ok((url.to_owned(), Wanted::Unsaid)) };
    let (mut mode, mut roots, mut others) = (None, None, Vec::new());
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value),
            Some(("sslrootcert", value)) => roots = Some(PathBuf::from(value)),
            _ => others.push(pair),
        }
    }
    let wanted = match (mode, roots) {
        (Some("verify-full"), roots) => Wanted::VerifyFull(roots),
        (_, Some(_)) => return Err(unusable("sslrootcert requires sslmode=verify-full")),
        (None, None) => Wanted::Unsaid,
        (Some("disable"), None) => Wanted::Disable,
        (Some("require"), None) => Wanted::Require,
        (Some(_), None) => return Err(unusable("sslmode must be verify-full, require or disable")),
    };
    let url = if others.is_empty() { place.to_owned() } else { format!("{place}?{}", others.join("&")) };
    Ok((url, wanted))
}

/// Creates the connector, and sets in `config` whether the driver asks for encryption.
pub(super) fn prepare(config: &mut Config, wanted: &Wanted) -> Result<Tls, StoreError> {
    let is_remote = config.get_hosts().iter().any(|host| match host {
        Host::Tcp(name) => !crate::model::is_loopback(name),
        #[cfg(unix)]
        Host::Unix(_) => false,
    });
    match wanted {
        Wanted::Unsaid if is_remote => Err(unusable(
            "the server is on another machine: add `?sslmode=verify-full`, or `?sslmode=disable` if the network between is trusted",
        )),
        Wanted::Unsaid | Wanted::Disable => {
            config.ssl_mode(SslMode::Disable);
            Ok(Tls::Plain)
        }
        Wanted::Require | Wanted::VerifyFull(_) => {
            config.ssl_mode(SslMode::Require);
            rustls_connector(wanted)
        }
    }
}

/// Connects outside of any pool; the connection ends when its client is dropped.
pub(super) async fn connect(
    config: &Config,
    tls: Tls,
) -> Result<(Client, tokio::task::JoinHandle<()>), tokio_postgres::Error> {
    // The user of the client gets the connection's error.
    match tls {
        Tls::Plain => {
            let (client, connection) = config.connect(NoTls).await?;
            Ok((client, tokio::spawn(async { drop(connection.await) })))
        }
        #[cfg(feature = "tls-postgres")]
        Tls::Rustls(connector) => {
            let (client, connection) = config.connect(connector).await?;
            Ok((client, tokio::spawn(async { drop(connection.await) })))
        }
    }
}

fn unusable(why: &str) -> StoreError {
    StoreError::Unusable(why.to_owned())
}

#[cfg(not(feature = "tls-postgres"))]
fn rustls_connector(_: &Wanted) -> Result<Tls, StoreError> {
    Err(unusable("this build does not support TLS for PostgreSQL; build with `--features tls-postgres`"))
}

#[cfg(feature = "tls-postgres")]
fn rustls_connector(wanted: &Wanted) -> Result<Tls, StoreError> {
    use std::sync::Arc;

    use rustls::{ClientConfig, crypto::ring};

    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Unusable(error.to_string()))?;
    let config = match wanted {
        Wanted::VerifyFull(file) => builder.with_root_certificates(verified::roots(file.as_deref())?),
        _ => builder.dangerous().with_custom_certificate_verifier(Arc::new(verified::Anybody(provider))),
    };
    Ok(Tls::Rustls(tokio_postgres_rustls::MakeRustlsConnect::new(config.with_no_client_auth())))
}

/// Verification of certificates.
#[cfg(feature = "tls-postgres")]
mod verified {
    use std::{path::Path, sync::Arc};

    use rustls::{
        DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    };

    use crate::store::StoreError;

    /// The authorities in the file, or those of the system.
    pub(super) fn roots(file: Option<&Path>) -> Result<RootCertStore, StoreError> {
        let found: Vec<CertificateDer<'static>> = match file {
            Some(file) => CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(|error| {
                StoreError::Unusable(format!("sslrootcert {} cannot be read: {error}", file.display()))
            })?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found);
        if added == 0 {
            let place = file.map_or_else(|| "the system".to_owned(), |file| format!("sslrootcert {}", file.display()));
            return Err(StoreError::Unusable(format!(
                "{place} has no certificate of a certificate authority; set sslrootcert to a file with one"
            )));
        }
        Ok(roots)
    }

    /// Accepts any certificate, if the server proves that it has the certificate's key.
    #[derive(Debug)]
    pub(super) struct Anybody(pub(super) Arc<CryptoProvider>);

    impl ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encryption_parameters_are_removed_from_the_url() {
        let taken = |url: &str| take(url).expect("a URL that can be used");
        assert_eq!(taken("postgres://a/b"), ("postgres://a/b".to_owned(), Wanted::Unsaid));
        assert_eq!(taken("postgres://a/b?sslmode=require"), ("postgres://a/b".to_owned(), Wanted::Require));
        assert_eq!(
            taken("postgres://a/b?keepalives=1&sslmode=verify-full&sslrootcert=/etc/ca.pem"),
            ("postgres://a/b?keepalives=1".to_owned(), Wanted::VerifyFull(Some("/etc/ca.pem".into())))
        );
        for (url, why) in [
            ("postgres://a/b?sslmode=prefer", "verify-full, require or disable"),
            ("postgres://a/b?sslmode=require&sslrootcert=x", "requires sslmode=verify-full"),
        ] {
            assert!(take(url).expect_err("no fallback").to_string().contains(why), "{url}");
        }
    }

    #[test]
    fn a_server_on_another_machine_needs_an_sslmode() {
        let prepared = |hosts: &str, wanted: &Wanted| {
            let mut config: Config = format!("postgres://{hosts}/b").parse().expect("a URL");
            prepare(&mut config, wanted).map(|_| config.get_ssl_mode())
        };
        assert_eq!(prepared("localhost", &Wanted::Unsaid).expect("the same machine"), SslMode::Disable);
        assert_eq!(prepared("db.example", &Wanted::Disable).expect("as the user says"), SslMode::Disable);
        let why = prepared("localhost,db.example", &Wanted::Unsaid).expect_err("one host is remote").to_string();
        assert!(why.contains("sslmode=verify-full") && why.contains("sslmode=disable"), "{why}");
        if cfg!(feature = "tls-postgres") {
            assert_eq!(prepared("db.example", &Wanted::Require).expect("as the user says"), SslMode::Require);
        } else {
            let why = prepared("db.example", &Wanted::Require).expect_err("not in this build").to_string();
            assert!(why.contains("--features tls-postgres"), "{why}");
        }
    }
}
