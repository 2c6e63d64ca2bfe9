//! Encrypted connections, and the certificates that they accept.

use super::{Mode, PostgresStore, database, faults::session};
use crate::store::{Store as _, StoreError, conformance::fixture::entity};

/// An empty database and the certificate of its server; `None` if the server was created without openssl.
async fn encrypted() -> Option<(String, String)> {
    let url = database().await?;
    let db = session(&url).await;
    if db.query_one("SHOW ssl", &[]).await.expect("an answer").get::<_, String>(0) == "off" {
        eprintln!("skipped: openssl is needed");
        return None;
    }
    let data: String = db.query_one("SHOW data_directory", &[]).await.expect("an answer").get(0);
    Some((url, data.replace("/data", "/server.crt")))
}

async fn opened(url: &str) -> Result<PostgresStore, StoreError> {
    PostgresStore::open(url, &[entity()], Mode::Run).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_encrypted_as_the_url_asks() {
    let (url, certificate) = or_skip!(encrypted().await);
    for (mode, encrypted) in [
        ("sslmode=disable".to_owned(), 0),
        ("sslmode=require".to_owned(), 1),
        (format!("sslmode=verify-full&sslrootcert={certificate}"), 1),
    ] {
        let store = opened(&format!("{url}?{mode}")).await.unwrap_or_else(|error| panic!("{mode}: {error}"));
        store.ping().await.expect("it answers");
        let db = session(&url).await;
        let question = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
             WHERE datname = current_database() AND application_name = 'order-runtime' AND ssl";
        let counted: i64 = db.query_one(question, &[]).await.expect("an answer").get(0);
        assert_eq!(counted.min(1), encrypted, "{mode}");
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_known_or_has_another_name_is_refused() {
    let (url, certificate) = or_skip!(encrypted().await);
    let unknown = opened(&format!("{url}?sslmode=verify-full")).await.expect_err("no authority of the system knows it");
    assert!(unknown.to_string().to_lowercase().contains("certificate"), "{unknown}");
    // A name that resolves to the server, but is not in its certificate.
    let other_name = url.replacen("127.0.0.1", "127.0.0.2", 1);
    let error = opened(&format!("{other_name}?sslmode=verify-full&sslrootcert={certificate}&hostaddr=127.0.0.1"))
        .await
        .expect_err("the certificate is for another name");
    assert!(error.to_string().contains("not valid for name"), "{error}");
    let absent = opened(&format!("{url}?sslmode=verify-full&sslrootcert=/absent.pem")).await.expect_err("no such file");
    assert!(absent.to_string().contains("sslrootcert /absent.pem cannot be read"), "{absent}");
}
