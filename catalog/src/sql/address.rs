//! Reads the address of a catalog database, in the forms that SQLAlchemy, JDBC and sqlx users write.

use std::path::PathBuf;
use std::str::FromStr;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use url::Url;

/// The parameters that a PostgreSQL address may have, besides `options[NAME]`.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "options",
    "application_name",
];

/// Where a catalog database is. Its `Display` has no secret.
#[derive(Clone)]
pub(crate) enum Address {
    /// A SQLite file.
    SqliteFile(PathBuf),
    /// A SQLite database that lives as long as the catalog.
    SqliteMemory,
    /// A PostgreSQL server and database.
    Postgres(Box<PgConnectOptions>),
}

impl FromStr for Address {
    type Err = String;

    /// The message says what is expected, and never repeats the address.
    fn from_str(uri: &str) -> Result<Self, String> {
        let uri = uri.strip_prefix("jdbc:").unwrap_or(uri);
        let (scheme, rest) = uri.split_once(':').ok_or_else(expected)?;
        // SQLAlchemy names the driver as well: postgresql+psycopg2, sqlite+pysqlite.
        match scheme.split('+').next().unwrap_or(scheme) {
            "sqlite" => sqlite(rest),
            "postgresql" | "postgres" => {
                let uri = format!("postgresql:{rest}");
                check_parameters(&uri)?;
                let options = PgConnectOptions::from_str(&uri).map_err(|_| {
                    "is not a valid address: postgresql://user:password@host:5432/database is".to_owned()
                })?;
                let options = options.application_name("polynya").disable_statement_logging();
                Ok(Self::Postgres(Box::new(options)))
            }
            _ => Err(expected()),
        }
    }
}

fn expected() -> String {
    "is expected to be sqlite:///absolute/path.db, sqlite::memory: or postgresql://user:password@host:5432/database"
        .to_owned()
}

/// sqlx ignores a parameter that it does not know, and logs its value. A mistyped `sslmode` would mean no encryption.
fn check_parameters(uri: &str) -> Result<(), String> {
    // What is no address at all is refused after this.
    let Ok(uri) = Url::parse(uri) else { return Ok(()) };
    let is_known = |name: &str| PARAMETERS.contains(&name) || name.starts_with("options[");
    match uri.query_pairs().map(|(name, _)| name).find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) if name.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '-')) => {
            Err(format!("has the parameter {name}, which is not known here"))
        }
        // Perhaps the rest of a password with a question mark in it.
        Some(_) => Err("has a parameter that is not known here".to_owned()),
    }
}

fn sqlite(rest: &str) -> Result<Address, String> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if matches!(path, "" | ":memory:" | "/:memory:") {
        return Ok(Address::SqliteMemory);
    }
    if path.contains('?') {
        return Err(
            "has a query part, which SQLite addresses cannot have here: write sqlite:///absolute/path.db".to_owned()
        );
    }
    // Three slashes are an absolute path, and so are SQLAlchemy's four.
    let path = if path.starts_with('/') { format!("/{}", path.trim_start_matches('/')) } else { path.to_owned() };
    Ok(Address::SqliteFile(PathBuf::from(path)))
}

impl Address {
    /// What tells the database, and the tables in it, from all others. No secret.
    pub(super) fn identity(&self) -> String {
        match self {
            Self::SqliteFile(path) => format!("sqlite {}", path.display()),
            Self::SqliteMemory => format!("sqlite in memory {}", uuid::Uuid::new_v4()),
            Self::Postgres(options) => {
                let (host, port, user) = (options.get_host(), options.get_port(), options.get_username());
                let database = options.get_database().unwrap_or(user);
                // They may name the schema that tables are looked for in; so may the user.
                let rest = options.get_options().unwrap_or_default();
                format!("postgresql {host}:{port}/{database} {user} {rest}")
            }
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SqliteFile(path) => write!(f, "SQLite file {}", path.display()),
            Self::SqliteMemory => write!(f, "SQLite in memory"),
            Self::Postgres(options) => write!(f, "PostgreSQL at {}:{}", options.get_host(), options.get_port()),
        }
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_paths_are_absolute_with_three_or_four_slashes() {
        for uri in ["sqlite:///a/b.db", "sqlite:////a/b.db", "sqlite+pysqlite:////a/b.db", "jdbc:sqlite:/a/b.db"] {
            assert_eq!(Address::from_str(uri).unwrap().to_string(), "SQLite file /a/b.db", "{uri}");
        }
        assert_eq!(Address::from_str("sqlite://b.db").unwrap().to_string(), "SQLite file b.db");
        for uri in ["sqlite::memory:", "sqlite://:memory:", "sqlite:///:memory:", "sqlite://"] {
            assert_eq!(Address::from_str(uri).unwrap().to_string(), "SQLite in memory", "{uri}");
        }
    }

    #[test]
    fn postgres_addresses_may_name_a_driver_and_never_show_the_password() {
        for uri in ["postgresql://ann:hunter2@db:5433/lake", "postgresql+psycopg2://ann:hunter2@db:5433/lake"] {
            let address = Address::from_str(uri).unwrap();
            assert_eq!(format!("{address} {address:?}"), "PostgreSQL at db:5433 PostgreSQL at db:5433");
        }
        let error = Address::from_str("postgresql://ann:hunter2@db:port/lake").unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        for (query, told) in [("sslpasswd=hunter2", "sslpasswd"), ("sslmod=require", "sslmod"), ("h2=x", "a para")] {
            let error = Address::from_str(&format!("postgresql://ann@db/lake?{query}")).unwrap_err();
            assert!(error.contains(told) && !error.contains("hunter2") && !error.contains("h2"), "{error}");
        }
        let known = "postgresql://ann@db/lake?sslmode=require&application_name=x&options[search_path]=y";
        assert!(Address::from_str(known).is_ok());
        assert!(Address::from_str("mysql://db/lake").unwrap_err().contains("postgresql://"));
        assert!(Address::from_str("lake.db").unwrap_err().contains("sqlite:///"));
    }
}
