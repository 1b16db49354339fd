//! Names in certificates, settings that are refused, and files that change.

use super::certificate::name_in;
use super::*;

fn key_file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name)
}

fn settings(folder: &Path) -> TlsSettings {
    put(folder, "server");
    TlsSettings {
        cert_file: folder.join("cert.pem"),
        key_file: folder.join("key.pem"),
        client_ca_file: None,
        client_auth: ClientAuth::Required,
    }
}

fn put(folder: &Path, name: &str) {
    std::fs::copy(key_file(&format!("{name}.pem")), folder.join("cert.pem")).unwrap();
    std::fs::copy(key_file(&format!("{name}.key.pem")), folder.join("key.pem")).unwrap();
}

fn refused(settings: &TlsSettings) -> String {
    match Tls::new(settings) {
        Ok(_) => panic!("the settings should be refused"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_name_in_a_certificate_is_its_common_name_or_else_an_alternative() {
    let name = |file: &str| {
        let certificate = CertificateDer::from_pem_file(key_file(file)).unwrap();
        name_in(certificate.as_ref())
    };
    assert_eq!(name("client_ann.pem").as_deref(), Some("ann"));
    assert_eq!(name("client_san.pem").as_deref(), Some("robot@example.com"));
    assert_eq!(name("client_two.pem"), None, "two common names are ambiguous");
    assert_eq!(name("server.pem").as_deref(), Some("localhost"));
}

#[test]
fn damaged_certificates_have_no_name_and_do_no_harm() {
    let good = CertificateDer::from_pem_file(key_file("client_ann.pem")).unwrap();
    for end in 0..good.len() {
        // A part of a certificate may still hold the subject; what matters is that reading it ends well.
        let _ = name_in(&good[..end]);
    }
    for at in 0..good.len() {
        let mut damaged = good.to_vec();
        damaged[at] ^= 0xff;
        let _ = name_in(&damaged);
    }
    assert_eq!(name_in(&[]), None);
    assert_eq!(name_in(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
}

#[test]
fn wrong_settings_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let good = settings(folder.path());
    assert!(Tls::new(&good).is_ok());
    let missing = TlsSettings { cert_file: "/no/such.pem".into(), ..good.clone() };
    assert!(refused(&missing).contains("server.tls.cert_file: /no/such.pem"));
    let swapped = TlsSettings { cert_file: good.key_file.clone(), ..good.clone() };
    assert!(refused(&swapped).contains("no certificate"));
    let other_key = TlsSettings { key_file: key_file("client_ann.key.pem"), ..good.clone() };
    assert!(refused(&other_key).contains("server.tls.cert_file"));
    let no_authority = TlsSettings { client_auth: ClientAuth::Optional, ..good };
    assert!(refused(&no_authority).contains("client_ca_file"));
}

#[test]
fn a_new_certificate_counts_once_its_key_is_there_too() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls::new(&settings(folder.path())).unwrap();
    let first = tls.config();
    tls.reload();
    assert!(Arc::ptr_eq(&first, &tls.config()));
    std::fs::copy(key_file("server_next.pem"), folder.path().join("cert.pem")).unwrap();
    tls.reload();
    assert!(Arc::ptr_eq(&first, &tls.config()), "certificate and key do not fit");
    put(folder.path(), "server_next");
    tls.reload();
    assert!(!Arc::ptr_eq(&first, &tls.config()));
}
