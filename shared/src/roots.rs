//! Whom TLS connections trust: the certificates of one file.
//!
//! The SDK would read the system's whole directory of certificates, hundreds of files, which took most of the time that a
//! program needs to start. The system's bundle has the same certificates in one file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_smithy_http_client::tls::TrustStore;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config::BadSetting;

/// How each certificate in a bundle ends.
const END: &str = "-----END CERTIFICATE-----";

/// The certificates that every connection trusts, cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Roots(Option<Arc<str>>);

impl Roots {
    /// Reads the file that somebody has named; else that of `SSL_CERT_FILE`, else the system's bundle. Where there is
    /// none, or `SSL_CERT_DIR` is set, the choice is left to rustls.
    pub fn read(named: Option<&Path>) -> Result<Self, BadSetting> {
        let bundle = match named {
            Some(file) => Some(bundle(file).map_err(|why| {
                BadSetting(format!("AWS_CA_BUNDLE is {}: {why}", file.display()))
            })?),
            // A system's bundle may be missing or empty, with a directory beside it that is not.
            None => of_the_system().and_then(|file| bundle(&file).ok()),
        };
        Ok(Self(bundle.map(Into::into)))
    }

    /// One certificate after the other, in PEM; `None` if rustls is to choose.
    pub fn pem(&self) -> Option<&[u8]> {
        self.0.as_deref().map(str::as_bytes)
    }

    /// The same for the SDK.
    pub(crate) fn trust_store(&self) -> TrustStore {
        match self.pem() {
            Some(pem) => TrustStore::empty().with_pem_certificate(pem),
            None => TrustStore::default(),
        }
    }
}

fn of_the_system() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "what rustls would read itself")]
    let directory = std::env::var_os("SSL_CERT_DIR");
    if directory.is_some() {
        return None;
    }
    openssl_probe::probe().cert_file
}

fn bundle(file: &Path) -> Result<String, String> {
    let content = std::fs::read(file).map_err(|error| error.to_string())?;
    let usable = usable(&content);
    if usable.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(usable)
}

/// The certificates that can be used. One that cannot is left out, as rustls does with a system's: the SDK would panic.
fn usable(bundle: &[u8]) -> String {
    // Comments beside certificates may be in any encoding.
    String::from_utf8_lossy(bundle)
        .split_inclusive(END)
        .filter(|certificate| is_usable(certificate))
        .collect()
}

fn is_usable(pem: &str) -> bool {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
    certificate.is_ok_and(|certificate| RootCertStore::empty().add(certificate).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = include_str!("../../tests/stack/authority.pem");
    const UNSOUND: &str = "-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n";

    #[test]
    fn what_cannot_be_used_is_left_out_and_does_no_harm() {
        let certificates = |bundle: &[u8]| {
            let usable = usable(bundle);
            let read = CertificateDer::pem_slice_iter(usable.as_bytes());
            read.collect::<Result<Vec<_>, _>>().unwrap().len()
        };
        for (bundle, expected) in [
            (String::new(), 0),
            ("no certificate".to_owned(), 0),
            (UNSOUND.to_owned(), 0),
            (SOUND.to_owned(), 1),
            (
                format!("# a comment\n{SOUND}{UNSOUND}# another\n{SOUND}"),
                2,
            ),
            (format!("{SOUND}-----BEGIN CERTIFICATE-----\nbm90IG9"), 1),
        ] {
            assert_eq!(certificates(bundle.as_bytes()), expected, "{bundle}");
        }
        let latin_1 = [b"# Autorit\xe9\n", SOUND.as_bytes()].concat();
        assert_eq!(certificates(&latin_1), 1);
    }

    #[test]
    fn a_bundle_that_was_named_must_have_a_certificate() {
        for (file, why) in [
            ("/nowhere/roots.pem", "No such file"),
            (
                concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
                "no certificate",
            ),
        ] {
            let error = Roots::read(Some(Path::new(file))).unwrap_err().to_string();
            let named = error.starts_with("AWS_CA_BUNDLE is ") && error.contains(file);
            assert!(named && error.contains(why), "{error}");
        }
    }
}
