//! PostgreSQL: a wrong password, a server that hangs or crashes, and a connection that is cut around COMMIT.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use polynya_catalog::spec::{DataContentType, DataFileBuilder, DataFileFormat, Struct};
use polynya_catalog::testing::PostgresServer;
use polynya_catalog::{CatalogSettings, CatalogType, ChangeSet, CommitOptions, Error, Table, commit};
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{error_within, open, orders, set, with_orders};

const SECRET: &str = PostgresServer::PASSWORD;

fn settings(uri: &str, warehouse: &std::path::Path) -> CatalogSettings {
    CatalogSettings::new(CatalogType::Sql).with_uri(uri).with_warehouse(format!("file://{}", warehouse.display()))
}

fn metadata_files(warehouse: &std::path::Path) -> usize {
    std::fs::read_dir(warehouse.join("shop/orders/metadata")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_addresses_and_passwords_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let server = PostgresServer::start().await.unwrap();
    let wrong = server.uri("postgres").replace(SECRET, "hunter2");
    let error = error_within(8, open(&settings(&wrong, folder.path())).await.list_namespaces(None), "hunter2").await;
    assert!(matches!(error, Error::AccessDenied { .. }), "{error:?}");
    let error =
        error_within(8, open(&settings(&server.uri("nowhere"), folder.path())).await.list_namespaces(None), SECRET)
            .await;
    assert!(matches!(error, Error::Settings { .. }), "{error:?}");
    let uri = server.uri("postgres");
    drop(server);
    let error = error_within(8, open(&settings(&uri, folder.path())).await.list_namespaces(None), SECRET).await;
    assert!(
        matches!(error, Error::Unavailable { .. }) && error.to_string().contains("PostgreSQL at 127.0.0.1"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_or_crashes_before_commit_leaves_nothing_done() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = PostgresServer::start().await.unwrap();
    let catalog = open(&settings(&server.uri("postgres"), folder.path())).await;
    let table = with_orders(catalog.as_ref()).await;

    server.freeze();
    let error = error_within(12, catalog.load_table(&orders()), SECRET).await;
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let error = error_within(12, catalog.commit_table(&orders(), vec![], set("a")), SECRET).await;
    assert!(matches!(error, Error::NotCommitted { .. }), "{error:?}");
    server.thaw();
    assert_eq!(catalog.load_table(&orders()).await.unwrap().metadata_location, table.metadata_location);

    // The UPDATE waits for a row that another program has locked; then the server hangs, and then it crashes.
    for crash in [false, true] {
        let mut other = PgConnection::connect(&server.uri("postgres")).await.unwrap();
        sqlx::raw_sql("BEGIN; SELECT * FROM iceberg_tables FOR UPDATE").execute(&mut other).await.unwrap();
        let committing = {
            let catalog = Arc::clone(&catalog);
            tokio::spawn(async move { catalog.commit_table(&orders(), vec![], set("a")).await })
        };
        tokio::time::sleep(Duration::from_millis(500)).await;
        if crash {
            server.crash()
        } else {
            server.freeze()
        }
        let error = error_within(15, async { committing.await.unwrap() }, SECRET).await;
        assert!(matches!(error, Error::NotCommitted { .. }), "{error:?}");
        assert_eq!(metadata_files(folder.path()), 1, "a metadata file of a failed commit is left");
        if crash { server.resume().await.unwrap() } else { server.thaw() }
    }
    assert_eq!(catalog.load_table(&orders()).await.unwrap().metadata_location, table.metadata_location);
    catalog.commit_table(&orders(), vec![], set("a")).await.unwrap();
}

/// What the wire between catalog and server does when it sees COMMIT.
#[derive(Clone, Copy, PartialEq)]
enum At {
    Pass = 0,
    /// COMMIT arrives; its answer does not.
    CutAfter = 1,
    /// COMMIT does not arrive.
    CutBefore = 2,
    /// COMMIT arrives; its answer never comes, and the connection stays open.
    HangAfter = 3,
}

/// A wire that can be told to fail at COMMIT.
struct Wire {
    port: u16,
    fault: Arc<AtomicU8>,
}

impl Wire {
    async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fault = Arc::new(AtomicU8::new(At::Pass as u8));
        let seen = Arc::clone(&fault);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                tokio::spawn(carry(client, server, Arc::clone(&seen)));
            }
        });
        Self { port, fault }
    }

    /// Breaks at the next COMMIT, and at no other.
    fn break_next(&self, at: At) {
        self.fault.store(at as u8, Ordering::SeqCst);
    }
}

async fn carry(client: TcpStream, server: TcpStream, fault: Arc<AtomicU8>) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mute = Arc::new(AtomicBool::new(false));
    let muted = Arc::clone(&mute);
    let answers = tokio::spawn(async move {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
            if muted.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            to_client.write_all(&bytes[..count]).await.unwrap();
        }
    });
    let mut bytes = vec![0; 64 << 10];
    loop {
        let count = from_client.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        let is_commit = bytes[..count].windows(6).any(|window| window == b"COMMIT");
        let at = if is_commit { fault.swap(At::Pass as u8, Ordering::SeqCst) } else { At::Pass as u8 };
        if at == At::Pass as u8 {
            to_server.write_all(&bytes[..count]).await?;
            continue;
        }
        mute.store(true, Ordering::SeqCst);
        if at != At::CutBefore as u8 {
            to_server.write_all(&bytes[..count]).await?;
            // The server answers into the void, once it has committed.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        if at == At::HangAfter as u8 {
            std::future::pending::<()>().await;
        }
        answers.abort();
        return Ok(());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_around_commit_is_an_unknown_outcome_and_deletes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = PostgresServer::start().await.unwrap();
    let wire = Wire::to(server.port()).await;
    let uri = server.uri("postgres").replace(&format!(":{}", server.port()), &format!(":{}", wire.port));
    let catalog = open(&settings(&format!("{uri}?sslmode=disable"), folder.path())).await;
    with_orders(catalog.as_ref()).await;
    let direct = open(&settings(&server.uri("postgres"), folder.path())).await;

    for (files, (at, done)) in
        [(At::CutAfter, true), (At::CutBefore, false), (At::HangAfter, true)].into_iter().enumerate()
    {
        let key = format!("key-{}", at as u8);
        wire.break_next(at);
        let error = error_within(15, catalog.commit_table(&orders(), vec![], set(&key)), SECRET).await;
        assert!(matches!(error, Error::CommitUnknown { .. }), "{error:?}");
        assert_eq!(metadata_files(folder.path()), files + 2, "a metadata file was deleted");
        let table = direct.load_table(&orders()).await.unwrap();
        assert_eq!(table.metadata.properties().contains_key(&key), done);
    }

    // The commit on top finds out: what happened is a success, once; what did not is an error or happens once.
    for at in [At::CutAfter, At::HangAfter, At::CutBefore] {
        let before = direct.load_table(&orders()).await.unwrap();
        wire.break_next(at);
        let changes = ChangeSet::append(vec![data_file(&before, at as u8)]);
        let result = commit(catalog.as_ref(), &before, changes, &CommitOptions::default()).await;
        let after = direct.load_table(&orders()).await.unwrap();
        let added = after.metadata.snapshots().len() - before.metadata.snapshots().len();
        match result {
            Ok(committed) => {
                assert_eq!(added, 1);
                assert_eq!(committed.metadata.current_snapshot_id(), after.metadata.current_snapshot_id());
            }
            Err(error) => {
                assert!(at == At::CutBefore && matches!(error, Error::CommitUnknown { .. }), "{error:?}");
                assert_eq!(added, 0);
            }
        }
    }
}

fn data_file(table: &Table, number: u8) -> polynya_catalog::spec::DataFile {
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(format!("{}/data/{number}.parquet", table.metadata.location()))
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .partition_spec_id(0)
        .record_count(1)
        .file_size_in_bytes(1000)
        .build()
        .unwrap()
}
