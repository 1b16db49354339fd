//! Locations, properties, request counts and failures of the stores.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::location::{Location, Scheme};
use super::*;

fn storage(properties: &[(&str, &str)]) -> Arc<Storage> {
    Storage::new(&map(properties)).expect("properties are right")
}

fn map(properties: &[(&str, &str)]) -> HashMap<String, String> {
    properties.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// A server that answers every request alike, and tells what was asked for.
async fn answering(answer: &'static str) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let (asked, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = vec![0; 16 << 10];
            let read = connection.read(&mut request).await.unwrap_or(0);
            let first_line = String::from_utf8_lossy(&request[..read]).lines().next().unwrap_or_default().to_string();
            let _ = asked.send(first_line);
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
    (address, requests)
}

fn s3_at(endpoint: &str) -> Arc<Storage> {
    storage(&[
        ("s3.endpoint", endpoint),
        ("s3.access-key-id", "AKIDEXAMPLE"),
        ("s3.secret-access-key", "wJalrXUtnFEMI"),
        ("s3.path-style-access", "true"),
    ])
}

#[test]
fn locations_are_taken_apart() {
    let parse = |location: &str| {
        let parts = Location::parse(location).expect(location);
        (parts.scheme, parts.bucket, parts.host, parts.key.to_string())
    };
    let s3 = |key: &str| (Scheme::S3, "b".to_string(), None, key.to_string());
    assert_eq!(parse("s3://b/a/b.parquet"), s3("a/b.parquet"));
    assert_eq!(parse("s3a://b/a"), s3("a"));
    assert_eq!(parse("S3N://b/a"), s3("a"));
    assert_eq!(parse("s3://b/a b%20c+d=e/é:?#"), s3("a b%20c+d=e/é:?#"));
    let azure = parse("abfss://box@acc.dfs.core.windows.net/x/y");
    assert_eq!(azure, (Scheme::Azure, "box".into(), Some("acc.dfs.core.windows.net".into()), "x/y".into()));
    for file in ["file:/a/b", "file:///a/b", "file://localhost/a/b", "/a/b"] {
        assert_eq!(parse(file), (Scheme::File, String::new(), None, "a/b".into()), "{file}");
    }
    assert_eq!(parse("memory://w/ns/t").3, "w/ns/t");
}

#[test]
fn locations_that_are_not_keys_are_refused() {
    for location in
        ["s3://b/a//b", "s3://b/../x", "s3://b/a/./b", "s3:///key", "relative/path", "file:relative", "s3:b/k"]
    {
        let error = Location::parse(location).expect_err(location);
        assert!(matches!(error, Error::Invalid { .. }), "{location}: {error}");
        assert!(error.to_string().contains(location), "{error}");
    }
    let error = Location::parse("hdfs://host/path").expect_err("hdfs");
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}

#[test]
fn a_location_does_not_choose_the_host_that_is_asked() {
    for location in [
        "s3://evil.example:80/k",
        "s3://evil.example#/k",
        "s3://evil.example?/k",
        "s3://me:secret@evil.example/k",
        "s3://../bucket/k",
        "gs://b%2f..%2fc/k",
        "abfss://box@3405803777#.dfs.core.windows.net/k",
        "abfss://box@evil.example:443/k",
        "abfss://box@me@evil.example/k",
        "abfss://box#@acc.dfs.core.windows.net/k",
    ] {
        let error = Location::parse(location).expect_err(location);
        assert!(matches!(error, Error::Invalid { .. }), "{location}: {error}");
    }
    for location in ["s3://Old_Bucket.of-2010/k", "gs://example.com/k", "abfss://$web@acc.dfs.core.windows.net/k"] {
        Location::parse(location).expect(location);
    }
}

#[tokio::test]
async fn keys_go_out_byte_for_byte() {
    let (endpoint, mut requests) = answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nLast-Modified: Sat, 21 Nov 2026 00:00:00 GMT\r\nETag: \"e\"\r\nConnection: close\r\n\r\nok").await;
    let key = "dir/a b%20c+d=e&f/é~!'()*:@,;$?#[]";
    let bytes = s3_at(&endpoint).read(&format!("s3://bucket/{key}")).await.expect("an answer");
    assert_eq!(bytes, Bytes::from_static(b"ok"));
    let line = requests.recv().await.expect("a request");
    let path = line.strip_prefix("GET /bucket/").and_then(|rest| rest.strip_suffix(" HTTP/1.1")).expect(&line);
    assert_eq!(percent_decoded(path), key);
}

fn percent_decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        match first {
            b'%' => {
                let code = std::str::from_utf8(&others[..2]).expect("two digits");
                bytes.push(u8::from_str_radix(code, 16).expect("hex"));
                rest = &others[2..];
            }
            other => {
                bytes.push(*other);
                rest = others;
            }
        }
    }
    String::from_utf8(bytes).expect("utf-8")
}

#[tokio::test]
async fn odd_names_round_trip_through_files_and_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().to_str().expect("utf-8").to_string();
    let in_memory = storage(&[]);
    let storage = storage(&[("warehouse", &format!("file://{root}"))]);
    for name in ["a b", "100%", "a%20b", "x+y=z", "é ü 漢", "q?x#y", "a:b", "50%25"] {
        for (storage, location) in
            [(&storage, format!("file://{root}/t/{name}/f.parquet")), (&in_memory, format!("memory://w/{name}"))]
        {
            storage.write(&location, Bytes::from(name.to_string())).await.expect(&location);
            assert_eq!(storage.read(&location).await.expect(&location), name.as_bytes(), "{location}");
        }
        assert!(folder.path().join("t").join(name).join("f.parquet").is_file(), "{name}");
    }
    let listed = storage.list(&format!("file://{root}/t")).await.expect("a list");
    assert_eq!(listed.len(), 8);
    assert!(listed.contains(&format!("file://{root}/t/a%20b/f.parquet")), "{listed:?}");
}

#[tokio::test]
async fn files_outside_the_warehouse_are_not_touched() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = folder.path().join("lake");
    std::fs::create_dir(&inside).expect("a folder");
    std::fs::write(folder.path().join("secret"), "x").expect("a file");
    let root = inside.to_str().expect("utf-8");
    let storage = storage(&[("warehouse", root)]);
    let outside = folder.path().join("secret").display().to_string();
    for location in [outside.clone(), format!("file://{outside}"), "/etc/passwd".to_string(), format!("{root}x/f")] {
        let error = storage.read(&location).await.expect_err(&location);
        assert!(error.to_string().contains("outside the warehouse"), "{error}");
        storage.write(&location, Bytes::new()).await.expect_err(&location);
    }
    let error = storage.read(&format!("{root}/../secret")).await.expect_err("traversal");
    assert!(matches!(error, Error::Invalid { .. }), "{error}");

    std::os::unix::fs::symlink(folder.path(), inside.join("link")).expect("a link");
    std::os::unix::fs::symlink("/", inside.join("root")).expect("a link");
    let error = storage.write("memory://lost", Bytes::new()).await.expect_err("the warehouse is a folder");
    assert!(error.to_string().contains("would be lost"), "{error}");
    for link in ["link/secret", "root/etc/passwd", "link/new/file"] {
        let error = storage.read(&format!("{root}/{link}")).await.expect_err(link);
        assert!(error.to_string().contains("outside the warehouse"), "{error}");
    }
    let error = Storage::new(&map(&[])).expect("a storage").read("/etc/passwd").await.expect_err("no warehouse");
    assert!(matches!(error, Error::Settings { .. }), "{error}");
}

#[tokio::test]
async fn ranges_are_exact_or_errors() {
    let storage = storage(&[]);
    storage.write("memory://a", Bytes::from_static(b"0123456789")).await.expect("written");
    assert_eq!(storage.read_range("memory://a", 2..5).await.expect("a range"), "234");
    assert_eq!(storage.read_range("memory://a", 3..3).await.expect("nothing"), "");
    for range in [5..11, 10..12, 100..200] {
        let error = storage.read_range("memory://a", range.clone()).await.expect_err("past the end");
        assert!(matches!(error, Error::Malformed { .. }), "{range:?}: {error}");
    }
    let error = storage.read_range("memory://b", 0..1).await.expect_err("no such file");
    assert!(matches!(error, Error::FileNotFound { .. }), "{error}");
    assert!(!storage.exists("memory://b").await.expect("an answer"));
    storage.delete("memory://b").await.expect("missing is fine");
}

#[tokio::test]
async fn memory_is_shared_by_handles_and_not_by_storages() {
    let first = storage(&[]);
    first.write("memory://a", Bytes::from_static(b"1")).await.expect("written");
    let vended = first.with_properties(&map(&[("s3.session-token", "t")])).expect("a handle");
    assert_eq!(vended.read("memory://a").await.expect("shared"), "1");
    assert_eq!(first.cache_key("memory://a").expect("a key"), vended.cache_key("memory://a").expect("a key"));
    let second = storage(&[]);
    assert!(!second.exists("memory://a").await.expect("an answer"));
    assert_ne!(first.cache_key("memory://a").expect("a key"), second.cache_key("memory://a").expect("a key"));
}

#[tokio::test]
async fn every_request_is_counted_once_per_meter() {
    let storage = storage(&[]);
    let meter = Arc::new(RequestMeter::default());
    let metered = storage.metered(Arc::clone(&meter));
    storage.write("memory://d/a", Bytes::from_static(b"0123456789")).await.expect("written");
    assert_eq!(meter.snapshot(), RequestCounts::default());

    let before = storage.total_meter().snapshot();
    metered.write("memory://d/b", Bytes::from_static(b"xyz")).await.expect("written");
    metered.read("memory://d/a").await.expect("read");
    metered.read_range("memory://d/a", 0..4).await.expect("read");
    metered.size("memory://d/a").await.expect("a size");
    metered.list("memory://d").await.expect("a list");
    let (store, key) = metered.resolve("memory://d/a").expect("a store");
    store.get_ranges(&key, &[0..1, 2..3]).await.expect("coalesced");
    let mut upload = store.put_multipart_opts(&key, Default::default()).await.expect("an upload");
    upload.put_part(Bytes::from_static(b"part").into()).await.expect("a part");
    upload.complete().await.expect("complete");
    metered.delete_all(vec!["memory://d/a".into(), "memory://d/b".into()]).await.expect("deleted");

    let counts = meter.snapshot();
    let expected =
        RequestCounts { get: 3, head: 1, put: 4, delete: 2, list: 1, bytes_read: 10 + 4 + 3, bytes_written: 3 + 4 };
    assert_eq!(counts, expected);
    assert_eq!(storage.total_meter().snapshot() - before, expected);
    assert_eq!(counts.requests(), 11);
}

#[tokio::test]
async fn an_absent_endpoint_is_an_error_within_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let start = Instant::now();
    // Not a read, which waits for a store that begins again.
    let error = s3_at(&endpoint).size("s3://bucket/key").await.expect_err("nobody is there");
    assert!(matches!(&error, Error::Unavailable { service, .. } if service.contains("bucket")), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test]
async fn answers_of_a_store_become_errors_that_name_things_and_no_secrets() {
    let (endpoint, _requests) = answering("HTTP/1.1 404 Not Found\r\nContent-Length: 48\r\nConnection: close\r\n\r\n<Error><Code>NoSuchBucket</Code></Error>        ").await;
    let error = s3_at(&endpoint).read("s3://absent/key").await.expect_err("no bucket");
    assert!(matches!(&error, Error::BucketNotFound { bucket, .. } if bucket == "absent"), "{error}");

    let (endpoint, _requests) =
        answering("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    let error = s3_at(&endpoint).read("s3://bucket/key").await.expect_err("no key");
    assert!(matches!(&error, Error::FileNotFound { location } if location == "s3://bucket/key"), "{error}");
    let error = s3_at(&endpoint).write("s3://absent/key", Bytes::new()).await.expect_err("no bucket");
    assert!(matches!(&error, Error::BucketNotFound { .. }), "{error}");

    // A service that repeats the secret back must not make us show it.
    let (endpoint, _requests) = answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 44\r\nConnection: close\r\n\r\nkey AKIDEXAMPLE with wJalrXUtnFEMI not known").await;
    let storage = s3_at(&endpoint);
    let error = storage.read("s3://bucket/key").await.expect_err("refused");
    assert!(matches!(&error, Error::AccessDenied { .. }), "{error}");
    let mut shown = format!("{error} {error:?} {storage:?}");
    let mut source = std::error::Error::source(&error);
    while let Some(next) = source {
        shown.push_str(&format!(" {next} {next:?}"));
        source = next.source();
    }
    assert!(shown.contains("not known"), "{shown}");
    assert!(!shown.contains("wJalrXUtnFEMI") && !shown.contains("AKIDEXAMPLE"), "{shown}");
}

#[test]
fn half_a_credential_is_a_settings_error_that_hides_it() {
    let storage = storage(&[("s3.access-key-id", "AKIDEXAMPLE")]);
    let error = storage.resolve("s3://b/k").expect_err("half");
    assert!(matches!(&error, Error::Settings { setting, .. } if setting == "s3.secret-access-key"), "{error}");
    assert!(!format!("{error:?} {storage:?}").contains("AKIDEXAMPLE"));
    let error = super::tests::storage(&[("s3.path-style-access", "maybe"), ("s3.anonymous", "true")]);
    let error = error.resolve("s3://b/k").expect_err("not a flag");
    assert!(error.to_string().contains("s3.path-style-access"), "{error}");
}

#[tokio::test]
async fn icebergs_file_io_reads_and_writes_here() {
    let storage = storage(&[]);
    let io = storage.file_io();
    io.new_output("memory://f").expect("output").write(Bytes::from_static(b"abc")).await.expect("written");
    let input = io.new_input("memory://f").expect("input");
    assert_eq!(input.read().await.expect("read"), "abc");
    assert_eq!(input.metadata().await.expect("metadata").size, 3);
    let reader = input.reader().await.expect("reader");
    assert_eq!(reader.read(1..3).await.expect("range"), "bc");
    let mut writer = io.new_output("memory://p/g").expect("output").writer().await.expect("writer");
    writer.write(Bytes::from_static(b"x")).await.expect("written");
    writer.write(Bytes::from_static(b"y")).await.expect("written");
    writer.close().await.expect("closed");
    writer.close().await.expect_err("closed twice");
    assert_eq!(storage.read("memory://p/g").await.expect("read"), "xy");
    io.delete_prefix("memory://p").await.expect("deleted");
    assert!(!io.exists("memory://p/g").await.expect("an answer"));
    assert!(io.exists("memory://f").await.expect("an answer"));
}
