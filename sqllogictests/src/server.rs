//! A server in this process, on a catalog and a warehouse in a temporary folder, for as long as the tests run.

use std::path::PathBuf;

use anyhow::{Context, Result};
use polynya_catalog::{CatalogSettings, CatalogType};
use polynya_engine::{Engine, Execution, ProvisionerKind, WorkerSettings};
use polynya_flight_server::{Server, ServerSettings};
use tempfile::TempDir;

/// A server with everything it stores. Stopping it, or dropping it, deletes the folder.
#[derive(Debug)]
pub struct LocalServer {
    server: Server,
    _folder: TempDir,
}

/// Processes that run the stages of queries.
#[derive(Debug, Clone)]
pub struct Workers {
    /// How many; they stay for as long as the server.
    pub count: usize,
    /// The program `polynya`.
    pub program: PathBuf,
}

impl Workers {
    fn settings(&self) -> WorkerSettings {
        WorkerSettings {
            provisioner: ProvisionerKind::LocalProcess,
            program: Some(self.program.clone()),
            min: self.count,
            max: self.count,
            execution: Execution::Distributed,
            ..WorkerSettings::default()
        }
    }
}

impl LocalServer {
    /// Starts a server on a free port, with one catalog called `lake`: SQLite and local files. With `workers`, queries run
    /// on so many processes.
    ///
    /// # Errors
    /// When the folder, the catalog or the port cannot be had.
    pub async fn start(workers: Option<&Workers>) -> Result<Self> {
        let folder = TempDir::with_prefix("polynya-slt-").context("cannot create a temporary folder")?;
        let mut catalog = CatalogSettings::new(CatalogType::Sql);
        catalog.uri = Some(format!("sqlite://{}", folder.path().join("catalog.db").display()));
        catalog.warehouse = Some(format!("file://{}", folder.path().join("warehouse").display()));
        let engine_settings = polynya_engine::Settings {
            catalog: [("lake".to_string(), catalog)].into(),
            default_catalog: Some("lake".to_string()),
            workers: workers.map(Workers::settings).unwrap_or_default(),
            ..Default::default()
        };
        let engine = Engine::start(engine_settings).await.context("cannot start the engine")?;
        let settings = ServerSettings { listen: "127.0.0.1:0".to_string(), ..ServerSettings::default() };
        let server = Server::bind(engine, &settings).await.context("cannot start the server")?;
        Ok(Self { server, _folder: folder })
    }

    /// Where clients reach it.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Lets running statements finish, and deletes everything.
    pub async fn stop(self) {
        self.server.drain().await;
    }
}
