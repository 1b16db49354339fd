//! The real S3 and REST catalog: a bucket that is missing, keys that are wrong, a service that stops answering.

use polynya_catalog::testing::SeaweedServer;
use polynya_catalog::{CatalogSettings, Error, Storage};

use super::{error_within, open, orders, set, with_orders};

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_real_services() {
    let seaweed = SeaweedServer::start().await.unwrap();
    a_missing_bucket_is_named(&seaweed).await;
    wrong_keys_are_refused(&seaweed).await;
    a_wrong_credential_is_refused(&seaweed).await;
    a_service_that_stops_answering_is_unavailable(&seaweed).await;
}

async fn a_missing_bucket_is_named(seaweed: &SeaweedServer) {
    let settings = seaweed.sql_settings("sqlite::memory:", "x").with_warehouse("s3://no-such-bucket/x");
    let storage = Storage::new(&settings.properties).unwrap();
    let error = error_within(8, storage.read("s3://no-such-bucket/x/file"), SeaweedServer::SECRET_KEY).await;
    assert!(matches!(error, Error::BucketNotFound { .. }) && error.to_string().contains("no-such-bucket"), "{error}");
    let catalog = open(&settings).await;
    catalog.create_namespace(&orders().namespace, [].into()).await.unwrap();
    let location = "s3://no-such-bucket/x/metadata/00000-9c12d441-03fe-4693-9a96-a0705ddf69c1.metadata.json";
    let error = error_within(8, catalog.register_table(&orders(), location), SeaweedServer::SECRET_KEY).await;
    assert!(matches!(error, Error::BucketNotFound { .. }), "{error:?}");
}

async fn wrong_keys_are_refused(seaweed: &SeaweedServer) {
    let settings = seaweed.sql_settings("sqlite::memory:", "x").with_property("s3.secret-access-key", "hunter2hunter2");
    let catalog = open(&settings).await;
    catalog.create_namespace(&orders().namespace, [].into()).await.unwrap();
    let error = error_within(8, catalog.create_table(&orders(), super::new_table()), "hunter2").await;
    assert!(matches!(error, Error::AccessDenied { .. }), "{error:?}");
}

async fn a_wrong_credential_is_refused(seaweed: &SeaweedServer) {
    let settings: CatalogSettings = seaweed.rest_settings().with_credential("admin:hunter2hunter2");
    let error = error_within(8, open(&settings).await.list_namespaces(None), "hunter2").await;
    assert!(matches!(error, Error::AccessDenied { .. }), "{error:?}");
}

async fn a_service_that_stops_answering_is_unavailable(seaweed: &SeaweedServer) {
    let catalog = open(&seaweed.rest_settings()).await;
    let table = with_orders(catalog.as_ref()).await;
    seaweed.freeze();
    let error = error_within(12, catalog.load_table(&orders()), SeaweedServer::SECRET_KEY).await;
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let error = error_within(35, catalog.commit_table(&orders(), vec![], set("a")), SeaweedServer::SECRET_KEY).await;
    assert!(matches!(error, Error::CommitUnknown { .. } | Error::Unavailable { .. }), "{error:?}");
    seaweed.thaw();
    let loaded = catalog.load_table(&orders()).await.unwrap();
    assert_eq!(loaded.metadata.uuid(), table.metadata.uuid());
}
