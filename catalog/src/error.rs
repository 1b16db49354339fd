//! Why a catalog or storage operation failed, grouped by who can act on it.

/// The result of a catalog operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure below, kept whole so that its own source chain survives.
pub type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why a catalog or storage operation failed, grouped by who can act on it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // ---- The caller's statement names something that is not there, or is there already.
    /// No such namespace.
    #[error("schema {namespace} does not exist in catalog {catalog}")]
    NamespaceNotFound {
        /// The catalog that was asked.
        catalog: String,
        /// The namespace, dotted.
        namespace: String,
    },
    /// The namespace is there already.
    #[error("schema {namespace} already exists in catalog {catalog}")]
    NamespaceExists {
        /// The catalog that was asked.
        catalog: String,
        /// The namespace, dotted.
        namespace: String,
    },
    /// A namespace that still holds tables or namespaces cannot be dropped.
    #[error("schema {namespace} of catalog {catalog} is not empty: drop its tables and schemas first")]
    NamespaceNotEmpty {
        /// The catalog that was asked.
        catalog: String,
        /// The namespace, dotted.
        namespace: String,
    },
    /// No such table.
    #[error("table {table} does not exist in catalog {catalog}")]
    TableNotFound {
        /// The catalog that was asked.
        catalog: String,
        /// The table, dotted.
        table: String,
    },
    /// The table is there already.
    #[error("table {table} already exists in catalog {catalog}")]
    TableExists {
        /// The catalog that was asked.
        catalog: String,
        /// The table, dotted.
        table: String,
    },
    /// The request is malformed (a bad name, a bad schema, a bad property).
    #[error("{message}")]
    Invalid {
        /// What is wrong, naming the thing, and the next step.
        message: String,
        /// What was found below, if anything.
        #[source]
        source: Option<Source>,
    },
    /// A feature of the format or the catalog that is not supported yet.
    #[error("{what} is not supported: {feature}")]
    Unsupported {
        /// The table, file or catalog that uses it.
        what: String,
        /// The feature.
        feature: String,
    },

    // ---- The operator's settings.
    /// A setting is missing, unknown, or has a bad value.
    #[error("setting {setting}: {message}")]
    Settings {
        /// The full key, such as `catalog.lake.uri`.
        setting: String,
        /// What is wrong and what is expected. Never a secret's value.
        message: String,
    },
    /// The bucket that a location names is not there.
    #[error("{service} {bucket} does not exist: create it, or correct the location or endpoint that leads to it")]
    BucketNotFound {
        /// The bucket or container.
        bucket: String,
        /// The kind of store.
        service: String,
    },
    /// The service refused our credentials, or they lack a right.
    #[error("{service} refused access ({action}): check its credentials and permissions")]
    AccessDenied {
        /// The catalog or store, without secrets.
        service: String,
        /// What was tried.
        action: String,
        /// What the service said.
        #[source]
        source: Option<Source>,
    },

    // ---- Another writer, or a service that may recover.
    /// Another writer changed the table first; the requirement that no longer holds is named.
    #[error("table {table} was changed by another writer: {message}")]
    CommitConflict {
        /// The table, dotted.
        table: String,
        /// The requirement that failed.
        message: String,
    },
    /// The commit was sent, and whether it took effect is not known.
    #[error("the outcome of a commit to {table} is unknown: look at its snapshots before trying again")]
    CommitUnknown {
        /// The table, dotted.
        table: String,
        /// What interrupted it.
        #[source]
        source: Source,
    },
    /// A commit failed before it could take effect, for a reason that would else leave that open.
    #[error("nothing was committed to table {table}: {source}")]
    NotCommitted {
        /// The table, dotted.
        table: String,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// A service (catalog, store, token endpoint) did not answer, or answered that it cannot now.
    #[error("{service} is unavailable ({action})")]
    Unavailable {
        /// The catalog or store, without secrets.
        service: String,
        /// What was tried.
        action: String,
        /// What happened.
        #[source]
        source: Source,
    },

    // ---- The stored bytes.
    /// A file that the metadata names is not there.
    #[error("file {location} does not exist")]
    FileNotFound {
        /// The full location.
        location: String,
    },
    /// A metadata file, manifest list or manifest is not what it should be.
    #[error("{location} is damaged or is not a valid {kind}")]
    Malformed {
        /// The full location.
        location: String,
        /// What it should be: `metadata file`, `manifest list`, `manifest`.
        kind: &'static str,
        /// What the reader found.
        #[source]
        source: Source,
    },
    /// A metadata file, manifest list or manifest takes more memory to decode than there is.
    #[error("{kind} {location} cannot be decoded now")]
    Memory {
        /// The full location.
        location: String,
        /// What it is: `metadata file`, `manifest list`, `manifest`.
        kind: &'static str,
        /// How much it takes, and the setting that says how much there is.
        #[source]
        source: Source,
    },

    /// Nobody wanted the commit any more before it began. Nothing happened.
    #[error("the change was given up before it was committed")]
    GivenUp,

    // ---- Our bug.
    /// An invariant of ours did not hold.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// A malformed request, with a message that names the thing and the next step.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), source: None }
    }
}
