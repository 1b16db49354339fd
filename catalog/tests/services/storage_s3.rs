//! Storage on a real S3 service: keys, ranges, and what goes wrong, each as an error that says so within seconds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use polynya_catalog::testing::SeaweedServer;
use polynya_catalog::{Error, RequestMeter, Storage};

fn with(properties: HashMap<String, String>, changes: &[(&str, &str)]) -> Arc<Storage> {
    let mut properties = properties;
    properties.extend(changes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    Storage::new(&properties).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn s3() {
    let seaweed = SeaweedServer::start().await.unwrap();
    keys_round_trip(&seaweed).await;
    ranges_and_meters(&seaweed).await;
    wrong_credentials_are_refused(&seaweed).await;
    a_missing_bucket_is_named(&seaweed).await;
    an_endpoint_that_hangs_is_an_error_within_seconds(&seaweed).await;
}

async fn keys_round_trip(seaweed: &SeaweedServer) {
    let storage = with(seaweed.s3_properties(), &[]);
    let names = ["plain", "a b", "100%", "a%20b", "x+y=z", "day=2026-11-21", "é ü 漢", "(a)!'*", "a:b@c,d;e$f"];
    for name in names {
        let location = format!("s3://lake/keys/{name}/f.parquet");
        storage.write(&location, Bytes::from(name)).await.unwrap();
        assert_eq!(storage.read(&location).await.unwrap(), name, "{name}");
    }
    let mut listed = storage.list("s3://lake/keys").await.unwrap();
    listed.sort();
    let mut expected: Vec<String> = names.iter().map(|name| format!("s3://lake/keys/{name}/f.parquet")).collect();
    expected.sort();
    assert_eq!(listed, expected);
    storage.delete_all(listed).await.unwrap();
    assert!(storage.list("s3://lake/keys").await.unwrap().is_empty());
}

async fn ranges_and_meters(seaweed: &SeaweedServer) {
    let storage = with(seaweed.s3_properties(), &[]);
    let meter = Arc::new(RequestMeter::default());
    let metered = storage.metered(Arc::clone(&meter));
    let location = "s3a://lake/ranges/f";
    metered.write(location, Bytes::from_static(b"0123456789")).await.unwrap();
    assert_eq!(metered.read_range(location, 3..7).await.unwrap(), "3456");
    assert_eq!(metered.size(location).await.unwrap(), 10);
    let counts = meter.snapshot();
    assert_eq!((counts.put, counts.get, counts.head, counts.bytes_written), (1, 1, 1, 10));
    // A store that says that the object is shorter than was thought is asked again before it is believed.
    for range in [8..12, 10..11, 50..60] {
        let error = metered.read_range(location, range.clone()).await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{range:?}: {error:?}");
    }
    // A few times each.
    let counts = meter.snapshot();
    assert_eq!((counts.put, counts.head, counts.bytes_written), (1, 1, 10));
    assert!((1 + 3 * 2..=1 + 3 * 6).contains(&counts.get), "{}", counts.get);
    let error = metered.read("s3://lake/absent").await.unwrap_err();
    assert!(matches!(error, Error::FileNotFound { .. }), "{error:?}");
    metered.delete("s3://lake/absent").await.unwrap();
}

async fn wrong_credentials_are_refused(seaweed: &SeaweedServer) {
    for change in [("s3.secret-access-key", "not-the-secret"), ("s3.access-key-id", "nobody")] {
        let storage = with(seaweed.s3_properties(), &[change]);
        let begun = Instant::now();
        let error = storage.read("s3://lake/f").await.unwrap_err();
        assert!(matches!(error, Error::AccessDenied { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("not-the-secret"), "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

async fn a_missing_bucket_is_named(seaweed: &SeaweedServer) {
    let storage = with(seaweed.s3_properties(), &[]);
    let begun = Instant::now();
    let error = storage.read("s3://no-such-bucket/f").await.unwrap_err();
    assert!(matches!(&error, Error::BucketNotFound { bucket, .. } if bucket == "no-such-bucket"), "{error:?}");
    // Writes are not tried: SeaweedFS makes the bucket that an administrator writes to.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

async fn an_endpoint_that_hangs_is_an_error_within_seconds(seaweed: &SeaweedServer) {
    let storage = with(seaweed.s3_properties(), &[("s3.request-timeout", "1")]);
    storage.write("s3://lake/f", Bytes::from_static(b"x")).await.unwrap();
    seaweed.freeze();
    let begun = Instant::now();
    let result = storage.read("s3://lake/f").await;
    seaweed.thaw();
    let error = result.unwrap_err();
    assert!(matches!(&error, Error::Unavailable { service, .. } if service.contains("lake")), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
