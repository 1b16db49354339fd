//! The stores of each table of a REST catalog, kept between loads.
//!
//! A table's stores are opened once and then given newer credentials as the catalog vends them, so that connections are
//! reused and a query that began with older credentials goes on with the new ones.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use iceberg::TableIdent;
use parking_lot::Mutex;

use super::session::Session;
use super::vended::Vended;
use crate::Result;
use crate::storage::{CredentialSource, Storage};

/// Tables whose stores are kept; more than that, and all are opened anew.
const TABLES_MAX: usize = 10_000;

/// Stores by table.
#[derive(Debug, Default)]
pub(super) struct Stores {
    tables: Mutex<HashMap<TableIdent, TableStores>>,
}

#[derive(Debug, Clone)]
struct TableStores {
    storage: Arc<Storage>,
    source: Arc<Renewing>,
}

impl Stores {
    /// The stores of a table whose answer brought `vended`.
    pub(super) fn of_answer(&self, session: &Arc<Session>, table: &TableIdent, vended: Vended) -> Result<Arc<Storage>> {
        if vended.properties().is_empty() {
            self.tables.lock().remove(table);
            return Ok(Arc::clone(&session.storage));
        }
        if let Some(known) = self.tables.lock().get(table).filter(|known| known.source.is_like(&vended)) {
            known.source.replace(vended);
            return Ok(Arc::clone(&known.storage));
        }
        let source = Arc::new(Renewing::new(session, table, vended.clone()));
        let storage = match vended.has_credentials() {
            true => session.storage.with_credential_source(vended.properties(), Arc::clone(&source) as _)?,
            false => session.storage.with_properties(vended.properties())?,
        };
        let mut tables = self.tables.lock();
        if tables.len() >= TABLES_MAX {
            tables.clear();
        }
        tables.insert(table.clone(), TableStores { storage: Arc::clone(&storage), source });
        Ok(storage)
    }

    /// The stores of a table that was loaded before, if it has some of its own.
    pub(super) fn known(&self, table: &TableIdent) -> Option<Arc<Storage>> {
        self.tables.lock().get(table).map(|known| Arc::clone(&known.storage))
    }

    pub(super) fn forget(&self, table: &TableIdent) {
        self.tables.lock().remove(table);
    }
}

/// One table's credentials, renewed by loading the table again.
struct Renewing {
    session: Weak<Session>,
    table: TableIdent,
    current: Mutex<Current>,
    /// Held while asking the catalog, so that many requests at once ask once.
    asking: tokio::sync::Mutex<()>,
}

struct Current {
    vended: Vended,
    properties: Arc<HashMap<String, String>>,
}

impl Current {
    fn new(vended: Vended) -> Self {
        Self { properties: Arc::new(vended.properties().clone()), vended }
    }
}

impl Renewing {
    fn new(session: &Arc<Session>, table: &TableIdent, vended: Vended) -> Self {
        Self {
            session: Arc::downgrade(session),
            table: table.clone(),
            current: Mutex::new(Current::new(vended)),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// Whether only the credentials differ: the same stores will do.
    fn is_like(&self, vended: &Vended) -> bool {
        self.current.lock().vended.is_like(vended)
    }

    fn replace(&self, vended: Vended) {
        *self.current.lock() = Current::new(vended);
    }

    /// The credentials, unless it is time to renew them.
    fn lasting(&self) -> Option<Arc<HashMap<String, String>>> {
        let current = self.current.lock();
        let lasts = current.vended.lasts().is_none_or(|left| !left.is_zero());
        lasts.then(|| Arc::clone(&current.properties))
    }
}

#[async_trait]
impl CredentialSource for Renewing {
    async fn current(&self) -> Result<Arc<HashMap<String, String>>> {
        if let Some(properties) = self.lasting() {
            return Ok(properties);
        }
        let _asking = self.asking.lock().await;
        if let Some(properties) = self.lasting() {
            return Ok(properties);
        }
        let Some(session) = self.session.upgrade() else {
            // The catalog was closed: what we have is all there is.
            return Ok(self.known());
        };
        match session.vended_credentials(&self.table).await {
            Ok(vended) => self.replace(vended),
            Err(error) if self.current.lock().vended.is_valid() => {
                tracing::warn!(table = %self.table, %error, "a table's credentials could not be renewed yet");
            }
            Err(error) => return Err(error),
        }
        Ok(self.known())
    }

    fn known(&self) -> Arc<HashMap<String, String>> {
        Arc::clone(&self.current.lock().properties)
    }

    fn left(&self) -> Option<Duration> {
        self.current.lock().vended.left()
    }
}

impl fmt::Debug for Renewing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewing").field("table", &self.table).finish_non_exhaustive()
    }
}
