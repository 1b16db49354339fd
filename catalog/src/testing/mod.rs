//! Real services for tests: PostgreSQL, and SeaweedFS with its S3 and Iceberg REST catalog.
//!
//! Each start is a private one: free loopback ports, a temporary folder, and an end when the value is dropped or the
//! test process dies. Behind the feature `testing`; never part of the product. Where the programs are is told by
//! `POLYNYA_TEST_WEED` and `POLYNYA_TEST_PG_BIN`, which `cargo xtask test` sets; otherwise the usual places are searched.

mod postgres;
mod process;
mod seaweed;

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

pub use postgres::PostgresServer;
pub use seaweed::SeaweedServer;

/// Why a service could not be started, in words for whoever runs the tests.
pub type Failure = Box<dyn std::error::Error + Send + Sync + 'static>;

/// The ports that services may get: below every system's ephemeral range, so that no outgoing connection takes one
/// between our look and the service's start.
const SERVICE_PORTS: std::ops::Range<u16> = 15_000..32_000;

/// Ports that are free now, chosen at random among [`SERVICE_PORTS`]. All are held until all are known, so they differ.
fn free_ports<const N: usize>() -> Result<[u16; N], Failure> {
    let mut ports = [0; N];
    let mut held = Vec::with_capacity(N);
    for port in &mut ports {
        let listener = (0..1000)
            .find_map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, rand::random_range(SERVICE_PORTS))).ok())
            .ok_or("no free port was found for a service")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// The first of the places where a program is.
fn find_program(variable: &str, places: impl IntoIterator<Item = PathBuf>, advice: &str) -> Result<PathBuf, Failure> {
    if let Some(set) = std::env::var_os(variable) {
        let path = PathBuf::from(set);
        return if path.exists() {
            Ok(path)
        } else {
            Err(format!("{variable} names {}, which is not there", path.display()).into())
        };
    }
    let found = places.into_iter().find(|place| place.exists());
    found.ok_or_else(|| format!("{advice}, or set {variable}; `cargo xtask test` does both").into())
}

/// The workspace's folder for build results, where `xtask` keeps downloaded services.
fn target_dir() -> PathBuf {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from)
}
