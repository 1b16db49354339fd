//! An engine with one catalog, `lake`, in memory, and short ways to ask it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use polynya_catalog::{CatalogSettings, CatalogType};
use polynya_engine::{Answer, Engine, Error, Session, Settings};

/// An engine and a session in its schema `s`.
pub(crate) struct Lake {
    pub(crate) engine: Arc<Engine>,
    pub(crate) session: Session,
}

impl Lake {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    /// An engine with these settings and the catalog added.
    pub(crate) async fn with(mut settings: Settings) -> Self {
        let catalog = CatalogSettings::new(CatalogType::Memory).with_warehouse("memory://warehouse".to_owned());
        settings.catalog.insert("lake".to_owned(), catalog);
        let engine = Engine::start(settings).await.unwrap();
        let session = engine.session("default", "test");
        let lake = Self { engine, session };
        lake.run("CREATE SCHEMA s").await;
        lake.session.set_schema("s");
        lake
    }

    /// Runs a statement that must succeed, to its end.
    pub(crate) async fn run(&self, sql: &str) -> Vec<RecordBatch> {
        self.ask(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs a statement to its end.
    pub(crate) async fn ask(&self, sql: &str) -> Result<Vec<RecordBatch>, Error> {
        match self.engine.query(sql, &self.session).await? {
            Answer::Rows(rows) => rows.collect().await,
            Answer::Done(_) => Ok(Vec::new()),
        }
    }

    /// The rows of a query as a table of text.
    pub(crate) async fn text(&self, sql: &str) -> String {
        pretty_format_batches(&self.run(sql).await).unwrap().to_string()
    }
}
