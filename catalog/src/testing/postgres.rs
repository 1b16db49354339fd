//! A private PostgreSQL server.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;

use super::process::{Running, Service};
use super::{Failure, find_program, free_ports};

/// How long the server may take to answer.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// A PostgreSQL server on a free loopback port, in a temporary folder. Stops when dropped.
///
/// PostgreSQL refuses to run as root; there, it runs as the user `postgres` or `nobody`.
#[derive(Debug)]
pub struct PostgresServer {
    bin: PathBuf,
    port: u16,
    user: Option<(u32, u32)>,
    running: Option<Running>,
    folder: TempDir,
}

impl PostgresServer {
    /// The database user.
    pub const USER: &str = "polynya";
    /// Its password.
    pub const PASSWORD: &str = "open-water-7";

    /// Makes a database cluster, starts a server on it, and waits until it answers.
    ///
    /// # Errors
    /// Says which program is missing, or shows what the server wrote.
    pub async fn start() -> Result<Self, Failure> {
        let advice = "no PostgreSQL server was found: install the package postgresql";
        let bin = find_program("POLYNYA_TEST_PG_BIN", installed_versions(), advice)?;
        let folder = tempfile::Builder::new().prefix("polynya-postgres-").tempdir()?;
        let user = if is_root() { Some(unprivileged_user()?) } else { None };
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid))?;
        }
        let [port] = free_ports()?;
        let mut server = Self { bin, port, user, running: None, folder };
        server.make_cluster()?;
        server.resume().await?;
        Ok(server)
    }

    /// The server's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of a database of this server, as catalogs take it.
    pub fn uri(&self, database: &str) -> String {
        let (user, password, port) = (Self::USER, Self::PASSWORD, self.port);
        format!("postgresql://{user}:{password}@127.0.0.1:{port}/{database}")
    }

    /// Makes an empty database and gives its address.
    ///
    /// # Errors
    /// If the server does not, for instance because the database exists.
    pub async fn create_database(&self, name: &str) -> Result<String, Failure> {
        let mut connection = sqlx::PgConnection::connect(&self.uri("postgres")).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE \"{name}\""))).execute(&mut connection).await?;
        connection.close().await?;
        Ok(self.uri(name))
    }

    /// Stops all of the server's processes in their tracks; connections stay open and nothing answers.
    pub fn freeze(&self) {
        if let Some(running) = &self.running {
            running.signal_all("STOP");
        }
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        if let Some(running) = &self.running {
            running.signal_all("CONT");
        }
    }

    /// Ends the server at once, as a crash of its host would; its data stays.
    pub fn crash(&mut self) {
        if let Some(running) = self.running.take() {
            running.signal_all("KILL");
        }
    }

    /// Starts the server again, on the same data and port.
    ///
    /// # Errors
    /// Shows what the server wrote if it does not answer in time.
    pub async fn resume(&mut self) -> Result<(), Failure> {
        let settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=64"];
        let mut arguments =
            vec!["-D".to_owned(), self.data().display().to_string(), "-p".to_owned(), self.port.to_string()];
        arguments.extend(settings.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]));
        let service = Service {
            program: &self.bin.join("postgres"),
            arguments,
            environment: Vec::new(),
            user: self.user,
            log: self.folder.path().join("log"),
            // A fast shutdown: does not wait for clients.
            end_signal: "INT",
        };
        let running = service.start()?;
        let options: sqlx::postgres::PgConnectOptions = self.uri("postgres").parse()?;
        let begun = Instant::now();
        loop {
            running.check()?;
            match tokio::time::timeout(Duration::from_secs(5), options.connect()).await {
                Ok(Ok(connection)) => {
                    connection.close().await?;
                    break;
                }
                _ if begun.elapsed() > READY_TIMEOUT => {
                    return Err(format!("PostgreSQL does not answer:\n{}", running.output()).into());
                }
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        self.running = Some(running);
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn make_cluster(&self) -> Result<(), Failure> {
        let password_file = self.folder.path().join("password");
        std::fs::write(&password_file, Self::PASSWORD)?;
        let mut initdb = Command::new(self.bin.join("initdb"));
        initdb.args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--username", Self::USER]);
        initdb.arg("--pwfile").arg(&password_file).arg("--pgdata").arg(self.data());
        initdb.current_dir("/").stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            use std::os::unix::process::CommandExt;
            chown(&password_file, Some(uid), Some(gid))?;
            initdb.uid(uid).gid(gid);
        }
        let output = initdb.output()?;
        if !output.status.success() {
            return Err(format!("initdb failed: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(())
    }
}

/// The folders of installed servers, newest first.
fn installed_versions() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("postgres").exists())
        .collect();
    versions.sort();
    let elsewhere = ["/usr/local/pgsql/bin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"].map(PathBuf::from);
    versions
        .into_iter()
        .rev()
        .map(|(_, bin)| bin)
        .chain(elsewhere.into_iter().filter(|bin| bin.join("postgres").exists()))
        .collect()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The user and group id of `postgres`, or else of `nobody`.
fn unprivileged_user() -> Result<(u32, u32), Failure> {
    let users = std::fs::read_to_string(Path::new("/etc/passwd"))?;
    let id = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    id("postgres")
        .or_else(|| id("nobody"))
        .ok_or_else(|| "there is no user postgres or nobody to run PostgreSQL as".into())
}
