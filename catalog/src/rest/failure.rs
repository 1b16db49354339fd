//! What a failed request means for the caller.
//!
//! The one distinction that matters most: whether a change that failed can have happened all the same.

use std::fmt;

use iceberg::{NamespaceIdent, TableIdent};
use reqwest::StatusCode;

use super::wire::{ErrorModel, ErrorResponse};
use crate::Error;
use crate::error::Source;

/// What a request is for. Its `Display` completes "unavailable (…)".
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose<'a> {
    Config,
    ListNamespaces(Option<&'a NamespaceIdent>),
    LoadNamespace(&'a NamespaceIdent),
    CreateNamespace(&'a NamespaceIdent),
    DropNamespace(&'a NamespaceIdent),
    ListTables(&'a NamespaceIdent),
    LoadTable(&'a TableIdent),
    Credentials(&'a TableIdent),
    CreateTable(&'a TableIdent),
    StageTable(&'a TableIdent),
    RegisterTable(&'a TableIdent),
    DropTable(&'a TableIdent),
    RenameTable(&'a TableIdent, &'a TableIdent),
    Commit(&'a TableIdent),
}

impl fmt::Display for Purpose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => write!(f, "reading its configuration"),
            Self::ListNamespaces(None) => write!(f, "listing schemas"),
            Self::ListNamespaces(Some(parent)) => write!(f, "listing the schemas in {parent}"),
            Self::LoadNamespace(namespace) => write!(f, "reading schema {namespace}"),
            Self::CreateNamespace(namespace) => write!(f, "creating schema {namespace}"),
            Self::DropNamespace(namespace) => write!(f, "dropping schema {namespace}"),
            Self::ListTables(namespace) => write!(f, "listing the tables of schema {namespace}"),
            Self::LoadTable(table) => write!(f, "loading table {table}"),
            Self::Credentials(table) => write!(f, "getting credentials for table {table}"),
            Self::CreateTable(table) => write!(f, "creating table {table}"),
            Self::StageTable(table) => write!(f, "staging table {table}"),
            Self::RegisterTable(table) => write!(f, "registering table {table}"),
            Self::DropTable(table) => write!(f, "dropping table {table}"),
            Self::RenameTable(from, to) => write!(f, "renaming table {from} to {to}"),
            Self::Commit(table) => write!(f, "committing to table {table}"),
        }
    }
}

impl Purpose<'_> {
    /// Whether asking twice is the same as asking once.
    pub(super) fn is_read(self) -> bool {
        matches!(
            self,
            Self::Config
                | Self::ListNamespaces(_)
                | Self::LoadNamespace(_)
                | Self::ListTables(_)
                | Self::LoadTable(_)
                | Self::Credentials(_)
        )
    }

    /// The table whose state a lost answer leaves unknown.
    fn committed_table(self) -> Option<String> {
        match self {
            Self::Commit(table) | Self::CreateTable(table) | Self::RegisterTable(table) => Some(table.to_string()),
            _ => None,
        }
    }
}

/// The catalog as errors name it.
#[derive(Debug, Clone)]
pub(super) struct Service {
    /// The key under `[catalog]`.
    pub(super) catalog: String,
    /// Its address, without secrets.
    pub(super) address: String,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "catalog {} ({})", self.catalog, self.address)
    }
}

/// What a service says, as an error's source.
#[derive(Debug, thiserror::Error)]
#[error("HTTP {status}: {message}")]
struct Answer {
    status: u16,
    message: String,
}

impl Service {
    /// The request did not reach the service, or it says that it did nothing.
    pub(super) fn unavailable(&self, purpose: Purpose<'_>, source: impl Into<Source>) -> Error {
        Error::Unavailable { service: self.to_string(), action: purpose.to_string(), source: source.into() }
    }

    /// The request was sent, and whether it was carried out is not known.
    pub(super) fn lost(&self, purpose: Purpose<'_>, source: impl Into<Source>) -> Error {
        match purpose.committed_table() {
            Some(table) => Error::CommitUnknown { table, source: source.into() },
            None if purpose.is_read() => self.unavailable(purpose, source),
            None => Error::Unavailable {
                service: self.to_string(),
                action: format!("{purpose}; it may have taken effect"),
                source: source.into(),
            },
        }
    }

    /// A success whose body is not what it should be. A commit has then happened, but we cannot tell which state.
    pub(super) fn malformed(&self, purpose: Purpose<'_>, source: impl Into<Source>) -> Error {
        match purpose.committed_table() {
            Some(table) => Error::CommitUnknown { table, source: source.into() },
            None => Error::Malformed {
                location: format!("the answer of {self} ({purpose})"),
                kind: "Iceberg REST response",
                source: source.into(),
            },
        }
    }

    /// No answer, or none that could be read to its end.
    pub(super) fn no_answer(&self, purpose: Purpose<'_>, error: reqwest::Error) -> Error {
        // Addresses may carry a password, and the catalog is named already.
        let error = error.without_url();
        if error.is_connect() || error.is_builder() {
            self.unavailable(purpose, error)
        } else {
            self.lost(purpose, error)
        }
    }

    /// An answer that is not a success.
    pub(super) fn refused(&self, purpose: Purpose<'_>, status: StatusCode, body: &[u8]) -> Error {
        let model = serde_json::from_slice::<ErrorResponse>(body).ok().map(|response| response.error);
        let from_iceberg = model.is_some();
        let ErrorModel { message, r#type } = model.unwrap_or_default();
        let kind = r#type.unwrap_or_default();
        let message = message.unwrap_or_else(|| status.canonical_reason().unwrap_or("no message").to_owned());
        let answer = || Answer { status: status.as_u16(), message: message.clone() };
        match status.as_u16() {
            401 | 403 | 419 => Error::AccessDenied {
                service: self.to_string(),
                action: purpose.to_string(),
                source: Some(Box::new(answer())),
            },
            404 => self.not_found(purpose, &kind, answer()),
            409 => self.conflict(purpose, &kind, message),
            400 if kind == "NamespaceNotEmptyException" => self.conflict(purpose, &kind, message),
            405 | 406 | 501 => Error::Unsupported { what: self.to_string(), feature: format!("{purpose}: {message}") },
            400..=499 if status != StatusCode::REQUEST_TIMEOUT && status != StatusCode::TOO_MANY_REQUESTS => {
                Error::Invalid {
                    message: format!("{self} refused {purpose}: {message}"),
                    source: Some(Box::new(answer())),
                }
            }
            // The service itself says that it did not begin. A proxy's 503 may also mean that it lost the service.
            429 => self.unavailable(purpose, answer()),
            503 if from_iceberg => self.unavailable(purpose, answer()),
            300..=399 => self.unavailable(
                purpose,
                format!(
                    "it redirects to another address (HTTP {}): set catalog.{}.uri to that",
                    status.as_u16(),
                    self.catalog
                ),
            ),
            _ => self.lost(purpose, answer()),
        }
    }

    fn not_found(&self, purpose: Purpose<'_>, kind: &str, answer: Answer) -> Error {
        let catalog = self.catalog.clone();
        let no_namespace = |namespace: &NamespaceIdent| Error::NamespaceNotFound {
            catalog: catalog.clone(),
            namespace: namespace.to_string(),
        };
        let no_table = |table: &TableIdent| Error::TableNotFound { catalog: catalog.clone(), table: table.to_string() };
        let is_namespace = kind.contains("Namespace");
        match purpose {
            Purpose::ListNamespaces(Some(namespace))
            | Purpose::LoadNamespace(namespace)
            | Purpose::CreateNamespace(namespace)
            | Purpose::DropNamespace(namespace)
            | Purpose::ListTables(namespace) => no_namespace(namespace),
            Purpose::CreateTable(table) | Purpose::StageTable(table) | Purpose::RegisterTable(table) => {
                no_namespace(&table.namespace)
            }
            Purpose::RenameTable(_, to) if is_namespace => no_namespace(&to.namespace),
            Purpose::LoadTable(table)
            | Purpose::Credentials(table)
            | Purpose::DropTable(table)
            | Purpose::Commit(table)
            | Purpose::RenameTable(table, _) => no_table(table),
            Purpose::Config | Purpose::ListNamespaces(None) => Error::Settings {
                setting: format!("catalog.{catalog}.uri"),
                message: format!(
                    "there is no Iceberg REST catalog, or no such warehouse or prefix, at {}: {answer}",
                    self.address
                ),
            },
        }
    }

    fn conflict(&self, purpose: Purpose<'_>, kind: &str, message: String) -> Error {
        let catalog = self.catalog.clone();
        match purpose {
            Purpose::CreateNamespace(namespace) => Error::NamespaceExists { catalog, namespace: namespace.to_string() },
            Purpose::DropNamespace(namespace) => Error::NamespaceNotEmpty { catalog, namespace: namespace.to_string() },
            Purpose::CreateTable(table)
            | Purpose::StageTable(table)
            | Purpose::RegisterTable(table)
            | Purpose::RenameTable(_, table) => Error::TableExists { catalog, table: table.to_string() },
            Purpose::Commit(table) => Error::CommitConflict { table: table.to_string(), message },
            _ => Error::invalid(format!("{self} refused {purpose}: {message} ({kind})")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        Service { catalog: "lake".into(), address: "http://h".into() }
    }

    fn body(kind: &str) -> Vec<u8> {
        format!(r#"{{"error":{{"message":"m","type":"{kind}","code":1}}}}"#).into_bytes()
    }

    #[test]
    fn a_commit_that_may_have_happened_is_unknown() {
        let table = TableIdent::from_strs(["a", "t"]).unwrap();
        let of = |status: u16, body: &[u8]| {
            service().refused(Purpose::Commit(&table), StatusCode::from_u16(status).unwrap(), body)
        };
        for status in [500, 502, 504, 520, 408] {
            assert!(matches!(of(status, &body("x")), Error::CommitUnknown { .. }), "{status}");
        }
        assert!(matches!(of(503, b"upstream reset"), Error::CommitUnknown { .. }));
        assert!(matches!(of(503, &body("ServiceUnavailableException")), Error::Unavailable { .. }));
        assert!(matches!(of(429, b""), Error::Unavailable { .. }));
        assert!(matches!(of(409, &body("CommitFailedException")), Error::CommitConflict { .. }));
        assert!(matches!(of(404, &body("NoSuchTableException")), Error::TableNotFound { .. }));
        assert!(matches!(of(400, &body("BadRequestException")), Error::Invalid { .. }));
        assert!(matches!(of(403, b""), Error::AccessDenied { .. }));
        assert!(matches!(service().malformed(Purpose::Commit(&table), "x"), Error::CommitUnknown { .. }));
    }

    #[test]
    fn other_answers_name_what_they_are_about() {
        let namespace = NamespaceIdent::new("a".to_owned());
        let table = TableIdent::new(namespace.clone(), "t".to_owned());
        let of =
            |purpose, status: u16, kind| service().refused(purpose, StatusCode::from_u16(status).unwrap(), &body(kind));
        assert!(matches!(of(Purpose::LoadTable(&table), 404, ""), Error::TableNotFound { .. }));
        assert!(matches!(of(Purpose::ListTables(&namespace), 404, ""), Error::NamespaceNotFound { .. }));
        assert!(matches!(of(Purpose::CreateTable(&table), 404, ""), Error::NamespaceNotFound { .. }));
        assert!(matches!(of(Purpose::CreateTable(&table), 409, ""), Error::TableExists { .. }));
        assert!(matches!(of(Purpose::CreateNamespace(&namespace), 409, ""), Error::NamespaceExists { .. }));
        assert!(matches!(of(Purpose::DropNamespace(&namespace), 409, ""), Error::NamespaceNotEmpty { .. }));
        assert!(matches!(
            of(Purpose::DropNamespace(&namespace), 400, "NamespaceNotEmptyException"),
            Error::NamespaceNotEmpty { .. }
        ));
        assert!(matches!(of(Purpose::Config, 404, ""), Error::Settings { .. }));
        assert!(matches!(of(Purpose::RenameTable(&table, &table), 406, ""), Error::Unsupported { .. }));
        assert!(matches!(of(Purpose::LoadTable(&table), 500, ""), Error::Unavailable { .. }));
        assert!(of(Purpose::DropTable(&table), 500, "").to_string().contains("may have taken effect"));
    }
}
