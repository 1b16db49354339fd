//! Engines in one process, each of which plans without one of the optimiser's passes: for `cargo xtask fuzz-sql`.
//!
//! In: a SQL catalog with its warehouse, and the names of passes. Out: a line `PASS URL` for each, once it answers over Flight SQL. Ends when
//! its standard input does.

use std::io::{Read, Write};
use std::num::NonZeroUsize;

use anyhow::{Context, Result};
use clap::Parser;
use polynya_catalog::{CatalogSettings, CatalogType};
use polynya_engine::{Engine, PlanningSettings, Settings};
use polynya_flight_server::{Server, ServerSettings};

/// Serves a catalog by engines that each lack a pass.
#[derive(Parser)]
struct Arguments {
    /// The SQL catalog, such as sqlite:///folder/catalog.db.
    #[arg(long)]
    uri: String,
    /// The folder of the tables, such as file:///folder.
    #[arg(long)]
    warehouse: String,
    /// Rows in a batch, in every second engine.
    #[arg(long)]
    batch_rows: Option<NonZeroUsize>,
    /// A pass that an engine lacks; once for each engine.
    #[arg(long, value_name = "PASS")]
    without: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut servers = Vec::new();
    for (number, pass) in arguments.without.iter().enumerate() {
        let server = serve(&arguments, pass, number % 2 == 0).await?;
        println!("{pass} {}", server.url());
        servers.push(server);
    }
    std::io::stdout().flush().context("cannot print")?;
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await?.context("cannot read")?;
    for server in servers {
        server.drain().await;
    }
    Ok(())
}

async fn serve(arguments: &Arguments, pass: &str, small_batches: bool) -> Result<Server> {
    let mut catalog = CatalogSettings::new(CatalogType::Sql);
    catalog.uri = Some(arguments.uri.clone());
    catalog.warehouse = Some(arguments.warehouse.clone());
    let settings = Settings {
        catalog: [("lake".to_owned(), catalog)].into(),
        default_catalog: Some("lake".to_owned()),
        planning: PlanningSettings {
            without: vec![pass.to_owned()],
            batch_rows: arguments.batch_rows.filter(|_| small_batches),
        },
        ..Settings::default()
    };
    let engine = Engine::start(settings).await.with_context(|| format!("cannot start an engine without {pass}"))?;
    let settings = ServerSettings { listen: "127.0.0.1:0".to_owned(), ..ServerSettings::default() };
    Server::bind(engine, &settings).await.context("cannot start a server")
}
