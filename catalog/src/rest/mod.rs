//! The REST catalog: names and commits are a service's, spoken to in Iceberg's REST protocol.
//!
//! Source: `open-api/rest-catalog-open-api.yaml` in the Iceberg repository. Loaded metadata comes inline, so that
//! loading a table is one request.

mod auth;
mod client;
mod failure;
mod known;
mod path;
mod session;
mod staged;
mod stores;
mod vended;
mod wire;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use iceberg::spec::Schema;
use iceberg::{NamespaceIdent, TableIdent, TableRequirement, TableUpdate};
use tokio::sync::OnceCell;

use self::failure::Purpose;
use self::known::Known;
use self::session::Session;
use self::stores::Stores;
use self::vended::Vended;
use self::wire::{
    CommitTableRequest, CreateNamespaceRequest, CreateTableRequest, ListNamespacesResponse, ListTablesResponse,
    NamespaceResponse, RegisterTableRequest, RenameTableRequest, TableResponse,
};
use crate::changes::ChangeLog;
use crate::metadata_cache::{Room, read_table_metadata};
use crate::settings::{CatalogSettings, without_password};
use crate::storage::{check_namespace, check_table};
use crate::{Catalog, Error, NewTable, Result, Table};

/// A catalog service. Its configuration is read at the first use.
#[derive(Debug)]
pub(crate) struct RestCatalog {
    name: String,
    settings: CatalogSettings,
    session: OnceCell<Arc<Session>>,
    stores: Stores,
    known: Known,
    changes: OnceLock<Option<Arc<ChangeLog>>>,
}

/// Where changes under way are noted, if not in the warehouse: a table bucket takes nothing but tables.
const CHANGES_LOCATION: &str = "polynya.changes-location";
/// How long a service, and what stands in front of it, may take to carry out what a client that is gone has sent.
const SETTLES_AFTER: Duration = Duration::from_secs(3600);

impl RestCatalog {
    /// The catalog that users call `name`.
    pub(crate) fn new(name: &str, settings: CatalogSettings) -> Result<Self> {
        session::address(name, &settings)?;
        Ok(Self {
            name: name.to_owned(),
            settings,
            session: OnceCell::new(),
            stores: Stores::default(),
            known: Known::default(),
            changes: OnceLock::new(),
        })
    }

    fn table_exists(&self, table: &TableIdent) -> Error {
        Error::TableExists { catalog: self.name.clone(), table: table.to_string() }
    }

    async fn session(&self) -> Result<&Arc<Session>> {
        self.session.get_or_try_init(async || Session::open(&self.name, &self.settings).await.map(Arc::new)).await
    }

    /// The table that an answer describes, with the stores that the answer gives it.
    fn table(
        &self,
        session: &Arc<Session>,
        ident: &TableIdent,
        purpose: Purpose<'_>,
        answer: TableResponse,
    ) -> Result<Table> {
        let metadata_location = answer.metadata_location.ok_or_else(|| {
            session.client.service().malformed(purpose, "it has no metadata-location: the table is staged, not created")
        })?;
        let vended = Vended::new(answer.metadata.location(), answer.config, answer.storage_credentials.as_deref());
        let storage = match purpose {
            // A commit's answer brings no credentials: the table keeps those it was loaded with.
            Purpose::Commit(_) if vended.properties().is_empty() => {
                self.stores.known(ident).unwrap_or_else(|| Arc::clone(&session.storage))
            }
            _ => self.stores.of_answer(session, ident, vended)?,
        };
        Ok(Table {
            catalog: self.name.clone(),
            ident: ident.clone(),
            metadata_location,
            metadata: Arc::new(answer.metadata),
            storage,
        })
    }

    /// Asks the service to create a table, or to stage one.
    async fn post_table(
        &self,
        session: &Session,
        purpose: Purpose<'_>,
        table: &TableIdent,
        new: &NewTable,
    ) -> Result<Bytes> {
        check_table(&session.storage, new)?;
        // Services must refuse a name that is taken, but some answer with the table that has it.
        match self.load_table(table).await {
            Ok(_) => return Err(self.table_exists(table)),
            // Who may create but not look will be told by the service.
            Err(Error::TableNotFound { .. } | Error::AccessDenied { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut properties = new.properties.clone();
        properties.insert("format-version".to_owned(), (new.format_version as u8).to_string());
        let request = CreateTableRequest {
            name: &table.name,
            location: new.location.as_deref(),
            schema: &new.schema,
            partition_spec: new.partition_spec.clone().map(|spec| spec.with_spec_id(0)),
            write_order: new.sort_order.as_ref().filter(|order| !order.is_unsorted()),
            stage_create: matches!(purpose, Purpose::StageTable(_)),
            properties: &properties,
        };
        session.client.post(purpose, session.paths.tables(&table.namespace)?, &request).await
    }

    async fn table_of_body(
        &self,
        session: &Arc<Session>,
        ident: &TableIdent,
        purpose: Purpose<'_>,
        body: Bytes,
    ) -> Result<Table> {
        let answer = session.client.parse(purpose, body).await?;
        self.table(session, ident, purpose, answer)
    }
}

/// A service that cannot read a table's metadata file may answer with an empty table instead (SeaweedFS does). That would
/// be a wrong answer to every query, so a table without any column is compared with its file.
async fn check_not_invented(table: &Table) -> Result<()> {
    if table.metadata.last_column_id() > 0 {
        return Ok(());
    }
    let (written, _) = read_table_metadata(&table.storage, &table.metadata_location, &Room::default()).await?;
    if written.uuid() == table.metadata.uuid() {
        return Ok(());
    }
    Err(Error::Malformed {
        location: table.metadata_location.clone(),
        kind: "metadata file",
        source: "the catalog answers with an empty table in its place".into(),
    })
}

/// Whether two schemas have the same columns; a service assigns ids of its own.
fn same_columns(one: &Schema, other: &Schema) -> bool {
    let columns = |schema: &Schema| {
        let fields = schema.as_struct().fields();
        fields.iter().map(|field| (field.name.clone(), field.required)).collect::<Vec<_>>()
    };
    columns(one) == columns(other)
}

/// Follows `next-page-token` to the last page.
struct Pages<'a> {
    session: &'a Session,
    seen: HashSet<String>,
    token: Option<String>,
}

impl<'a> Pages<'a> {
    fn new(session: &'a Session) -> Self {
        // Services that page unasked say so in their answers; an empty token asks the others to page.
        let token = session.page_size.as_ref().map(|_| String::new());
        Self { session, seen: HashSet::new(), token }
    }

    /// The parameters that ask for the next page.
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query: Vec<_> = self.token.iter().map(|token| ("pageToken", token.clone())).collect();
        query.extend(self.session.page_size.iter().map(|size| ("pageSize", size.clone())));
        query
    }

    /// Whether there is another page after the one whose answer named `next`.
    fn advance(&mut self, purpose: Purpose<'_>, next: Option<String>) -> Result<bool> {
        self.token = next.filter(|next| !next.is_empty());
        match &self.token {
            None => Ok(false),
            Some(token) if self.seen.insert(token.clone()) => Ok(true),
            Some(_) => Err(self.session.client.service().malformed(purpose, "it gives the same page again and again")),
        }
    }
}

#[async_trait]
impl Catalog for RestCatalog {
    fn name(&self) -> &str {
        &self.name
    }

    async fn list_namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        let session = self.session().await?;
        let above = parent.map(|parent| session.paths.joined(parent)).transpose()?;
        let purpose = Purpose::ListNamespaces(parent);
        let mut namespaces = Vec::new();
        let mut pages = Pages::new(session);
        loop {
            let mut query = pages.query();
            query.extend(above.iter().map(|parent| ("parent", parent.clone())));
            let page: ListNamespacesResponse = session.client.get(purpose, session.paths.namespaces(), query).await?;
            namespaces.extend(page.namespaces);
            if !pages.advance(purpose, page.next_page_token)? {
                break;
            }
        }
        if let Some(parent) = parent.filter(|_| namespaces.is_empty()) {
            // Some services answer with no namespaces where there is no such parent.
            self.namespace_properties(parent).await?;
        }
        // Some services list every level, or without a parent's name.
        let depth = parent.map_or(0, |parent| parent.len());
        namespaces.retain(|namespace| {
            namespace.len() == depth + 1 && parent.is_none_or(|parent| namespace.starts_with(parent.as_ref()))
        });
        namespaces.sort_unstable();
        namespaces.dedup();
        Ok(namespaces)
    }

    async fn namespace_properties(&self, namespace: &NamespaceIdent) -> Result<HashMap<String, String>> {
        let session = self.session().await?;
        let purpose = Purpose::LoadNamespace(namespace);
        let answer: NamespaceResponse =
            session.client.get(purpose, session.paths.namespace(namespace)?, Vec::new()).await?;
        Ok(answer.properties.unwrap_or_default())
    }

    async fn create_namespace(&self, namespace: &NamespaceIdent, properties: HashMap<String, String>) -> Result<()> {
        let session = self.session().await?;
        check_namespace(&session.storage, &properties)?;
        session.paths.namespace(namespace)?;
        let request = CreateNamespaceRequest { namespace, properties: &properties };
        session.client.post(Purpose::CreateNamespace(namespace), session.paths.namespaces(), &request).await.map(drop)
    }

    async fn drop_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        let session = self.session().await?;
        // Services must refuse to drop what is not empty, but some forget to look for namespaces inside.
        if self.list_namespaces(Some(namespace)).await.is_ok_and(|children| !children.is_empty()) {
            return Err(Error::NamespaceNotEmpty { catalog: self.name.clone(), namespace: namespace.to_string() });
        }
        session.client.delete(Purpose::DropNamespace(namespace), session.paths.namespace(namespace)?, Vec::new()).await
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        let session = self.session().await?;
        let purpose = Purpose::ListTables(namespace);
        let mut tables = Vec::new();
        let mut pages = Pages::new(session);
        loop {
            let page: ListTablesResponse =
                session.client.get(purpose, session.paths.tables(namespace)?, pages.query()).await?;
            tables.extend(page.identifiers);
            if !pages.advance(purpose, page.next_page_token)? {
                break;
            }
        }
        if tables.is_empty() {
            // Some services answer with no tables where there is no such namespace.
            self.namespace_properties(namespace).await?;
        }
        tables.sort_unstable();
        Ok(tables)
    }

    async fn load_table(&self, table: &TableIdent) -> Result<Table> {
        let session = self.session().await?;
        let purpose = Purpose::LoadTable(table);
        let (etag, known) = self.known.get(table).unzip();
        let url = session.paths.table(table)?;
        let (answer, etag) = match (session.client.get_if_changed(purpose, url.clone(), etag).await?, known) {
            (None, Some(known)) => return Ok(known),
            (None, None) => (session.client.get(purpose, url, Vec::new()).await?, None),
            (Some(answer), _) => answer,
        };
        let loaded = self.table(session, table, purpose, answer)?;
        check_not_invented(&loaded).await?;
        self.known.keep(table, etag, &loaded);
        Ok(loaded)
    }

    async fn create_table(&self, table: &TableIdent, new: NewTable) -> Result<Table> {
        let (session, purpose) = (self.session().await?, Purpose::CreateTable(table));
        let body = self.post_table(session, purpose, table, &new).await?;
        let created = self.table_of_body(session, table, purpose, body).await?;
        if created.metadata.snapshots().len() == 0 && same_columns(created.metadata.current_schema(), &new.schema) {
            return Ok(created);
        }
        Err(self.table_exists(table))
    }

    async fn stage_table(&self, table: &TableIdent, new: &NewTable) -> Result<Option<Table>> {
        let (session, purpose) = (self.session().await?, Purpose::StageTable(table));
        let body = match self.post_table(session, purpose, table, new).await {
            // It is optional; services that lack it say so in several ways.
            Err(Error::Unsupported { .. } | Error::Invalid { .. } | Error::Unavailable { .. }) => return Ok(None),
            body => body?,
        };
        let answer: TableResponse = session.client.parse(purpose, body).await?;
        if answer.metadata.snapshots().len() > 0 || !same_columns(answer.metadata.current_schema(), &new.schema) {
            return Err(self.table_exists(table));
        }
        // One that has created the table right away is not to be trusted with a second creation.
        if !matches!(self.load_table(table).await, Err(Error::TableNotFound { .. } | Error::AccessDenied { .. })) {
            return Err(self.table_exists(table));
        }
        let vended = Vended::new(answer.metadata.location(), answer.config, answer.storage_credentials.as_deref());
        Ok(Some(Table {
            catalog: self.name.clone(),
            ident: table.clone(),
            metadata_location: String::new(),
            storage: self.stores.of_answer(session, table, vended)?,
            metadata: Arc::new(answer.metadata),
        }))
    }

    async fn create_staged(&self, staged: &Table, updates: Vec<TableUpdate>) -> Result<Table> {
        let updates = staged::creation(&staged.metadata)?.into_iter().chain(updates).collect();
        self.commit_table(&staged.ident, vec![TableRequirement::NotExist], updates).await
    }

    async fn change_log(&self) -> Result<Option<Arc<ChangeLog>>> {
        let session = self.session().await?;
        let open = || {
            let (uri, warehouse) =
                (self.settings.uri.as_deref().unwrap_or_default(), self.settings.warehouse.as_deref());
            let prefix = self.settings.prefix.as_deref().unwrap_or_default();
            let identity = format!("rest {} {} {prefix}", without_password(uri), warehouse.unwrap_or_default());
            let elsewhere = self.settings.properties.get(CHANGES_LOCATION).map(String::as_str);
            ChangeLog::of(identity, elsewhere.or(warehouse), &session.storage, SETTLES_AFTER)
        };
        Ok(self.changes.get_or_init(open).clone())
    }

    async fn drop_table(&self, table: &TableIdent, purge: bool) -> Result<()> {
        let session = self.session().await?;
        let query = vec![("purgeRequested", purge.to_string())];
        session.client.delete(Purpose::DropTable(table), session.paths.table(table)?, query).await?;
        self.stores.forget(table);
        self.known.forget(table);
        Ok(())
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        let session = self.session().await?;
        session.paths.table(to)?;
        let request = RenameTableRequest { source: from, destination: to };
        session.client.post(Purpose::RenameTable(from, to), session.paths.rename(), &request).await?;
        self.stores.forget(from);
        self.known.forget(from);
        self.known.forget(to);
        Ok(())
    }

    async fn register_table(&self, table: &TableIdent, metadata_location: &str) -> Result<Table> {
        let session = self.session().await?;
        let purpose = Purpose::RegisterTable(table);
        session.paths.table(table)?;
        let request = RegisterTableRequest { name: &table.name, metadata_location };
        let body = session.client.post(purpose, session.paths.register(&table.namespace)?, &request).await?;
        let registered = self.table_of_body(session, table, purpose, body).await?;
        match self.load_table(table).await {
            Ok(loaded) if loaded.metadata.uuid() == registered.metadata.uuid() => Ok(loaded),
            Ok(_) | Err(Error::Malformed { .. }) => Err(Error::Unsupported {
                what: session.client.service().to_string(),
                feature: format!("registering tables: it loads {table} as another table than its metadata file says"),
            }),
            Err(error) => Err(error),
        }
    }

    async fn commit_table(
        &self,
        table: &TableIdent,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<Table> {
        let session = self.session().await?;
        let purpose = Purpose::Commit(table);
        let request = CommitTableRequest { identifier: table, requirements: &requirements, updates: &updates };
        let body = session.client.post(purpose, session.paths.table(table)?, &request).await?;
        let committed = self.table_of_body(session, table, purpose, body).await;
        // The commit has happened: what fails now must not look as if it had not.
        committed.map_err(|error| match error {
            error @ Error::CommitUnknown { .. } => error,
            error => Error::CommitUnknown { table: table.to_string(), source: Box::new(error) },
        })
    }
}
