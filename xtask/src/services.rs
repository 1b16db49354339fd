//! `cargo xtask services`: SeaweedFS and PostgreSQL for work by hand, in the foreground until Ctrl-C.
//!
//! Data lives below target/services/data and survives restarts. Prints the catalog settings that reach the services.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::install::{self, Programs};
use crate::target_dir;

const S3_PORT: u16 = 8333;
const REST_PORT: u16 = 8181;
const POSTGRES_PORT: u16 = 5433;

/// Installs and starts the services, prints how to reach them, and waits.
pub(crate) fn run() -> Result<()> {
    let programs = install::programs()?;
    let data = target_dir().join("services/data");
    let mut weed = start_seaweedfs(&programs, &data.join("s3"))?;
    let mut postgres = start_postgres(&programs, &data.join("postgres"))?;
    for (name, port) in [("S3", S3_PORT), ("the REST catalog", REST_PORT), ("PostgreSQL", POSTGRES_PORT)] {
        wait_for(name, port)?;
    }
    println!("{}", settings());
    println!("# Ctrl-C stops both services; the data stays in {}", data.display());
    weed.wait()?;
    postgres.kill().ok();
    postgres.wait()?;
    Ok(())
}

fn start_seaweedfs(programs: &Programs, data: &Path) -> Result<Child> {
    ensure!(
        TcpStream::connect(("127.0.0.1", S3_PORT)).is_err(),
        "port {S3_PORT} is in use: is SeaweedFS running already?"
    );
    std::fs::create_dir_all(data).with_context(|| format!("cannot create {}", data.display()))?;
    Command::new(&programs.weed)
        .arg("mini")
        .arg(format!("-dir={}", data.display()))
        .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-bucket=lake", "-tableBucket=iceberg-tables"])
        .args(["-master.telemetry=false", "-webdav=false", "-admin.ui=false"])
        .envs([("AWS_ACCESS_KEY_ID", "admin"), ("AWS_SECRET_ACCESS_KEY", "secretsecret")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start SeaweedFS")
}

/// PostgreSQL refuses to run as root: there, it runs as the package's own user on a folder of that user.
fn start_postgres(programs: &Programs, data: &Path) -> Result<Child> {
    let root = install::is_root();
    let data: PathBuf = if root { PathBuf::from("/var/lib/postgresql/polynya-services") } else { data.to_path_buf() };
    let program = |name: &str| {
        let path = programs.postgres_bin.join(name);
        if root {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(path).current_dir("/");
            command
        } else {
            Command::new(path)
        }
    };
    if !data.join("PG_VERSION").exists() {
        let output = program("initdb")
            .args(["--auth=trust", "--username=polynya", "--encoding=UTF8", "--pgdata"])
            .arg(&data)
            .output()
            .context("cannot start initdb")?;
        ensure!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    program("postgres")
        .arg("-D")
        .arg(&data)
        .args(["-p", &POSTGRES_PORT.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start PostgreSQL")
}

fn wait_for(name: &str, port: u16) -> Result<()> {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(begun.elapsed() < Duration::from_secs(60), "{name} did not open port {port} within 60 s");
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn settings() -> String {
    let s3 = format!(
        "\"s3.endpoint\" = \"http://127.0.0.1:{S3_PORT}\"\n\"s3.region\" = \"us-east-1\"\n\"s3.access-key-id\" = \"admin\"\n\
         \"s3.secret-access-key\" = \"secretsecret\"\n\"s3.path-style-access\" = true\n"
    );
    format!(
        "# polynya.toml\n[server]\ndefault_catalog = \"lake\"\n\n[catalog.lake]\ntype = \"rest\"\nuri = \"http://127.0.0.1:{REST_PORT}\"\n\
         warehouse = \"s3://iceberg-tables\"\ncredential = \"admin:secretsecret\"\n{s3}\n[catalog.pg]\ntype = \"sql\"\n\
         uri = \"postgresql://polynya@127.0.0.1:{POSTGRES_PORT}/postgres\"\nwarehouse = \"s3://lake/pg\"\n{s3}"
    )
}
