//! The memory catalog: names in this process, metadata files wherever the warehouse is.
//!
//! For tests, examples and throw-away sessions: the names are gone when the process ends.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use iceberg::{NamespaceIdent, TableIdent};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::Result;
use crate::pointer::{Pointers, Renamed};

/// Names and pointers behind one lock.
#[derive(Debug)]
pub(crate) struct MemoryPointers {
    id: Uuid,
    state: Mutex<State>,
}

impl Default for MemoryPointers {
    fn default() -> Self {
        Self { id: Uuid::new_v4(), state: Mutex::default() }
    }
}

#[derive(Debug, Default)]
struct State {
    namespaces: BTreeMap<NamespaceIdent, HashMap<String, String>>,
    tables: BTreeMap<TableIdent, String>,
}

#[async_trait]
impl Pointers for MemoryPointers {
    async fn namespaces(&self) -> Result<Vec<NamespaceIdent>> {
        let state = self.state.lock();
        Ok(state.namespaces.keys().chain(state.tables.keys().map(|table| &table.namespace)).cloned().collect())
    }

    async fn properties(&self, namespace: &NamespaceIdent) -> Result<HashMap<String, String>> {
        Ok(self.state.lock().namespaces.get(namespace).cloned().unwrap_or_default())
    }

    async fn add_namespace(&self, namespace: &NamespaceIdent, properties: &HashMap<String, String>) -> Result<bool> {
        let mut state = self.state.lock();
        if state.namespaces.contains_key(namespace) {
            return Ok(false);
        }
        state.namespaces.insert(namespace.clone(), properties.clone());
        Ok(true)
    }

    async fn remove_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        self.state.lock().namespaces.remove(namespace);
        Ok(())
    }

    async fn tables(&self, namespace: &NamespaceIdent) -> Result<Vec<String>> {
        let state = self.state.lock();
        Ok(state.tables.keys().filter(|table| table.namespace == *namespace).map(|table| table.name.clone()).collect())
    }

    async fn get(&self, table: &TableIdent) -> Result<Option<String>> {
        Ok(self.state.lock().tables.get(table).cloned())
    }

    async fn add(&self, table: &TableIdent, location: &str) -> Result<bool> {
        let mut state = self.state.lock();
        if state.tables.contains_key(table) {
            return Ok(false);
        }
        state.tables.insert(table.clone(), location.to_owned());
        Ok(true)
    }

    async fn swap(&self, table: &TableIdent, from: &str, to: &str) -> Result<bool> {
        let mut state = self.state.lock();
        match state.tables.get_mut(table).filter(|current| *current == from) {
            Some(current) => to.clone_into(current),
            None => return Ok(false),
        }
        Ok(true)
    }

    async fn remove(&self, table: &TableIdent) -> Result<bool> {
        Ok(self.state.lock().tables.remove(table).is_some())
    }

    async fn rename(&self, from: &TableIdent, to: &TableIdent) -> Result<Renamed> {
        let mut state = self.state.lock();
        if !state.tables.contains_key(from) {
            return Ok(Renamed::Missing);
        }
        if state.tables.contains_key(to) {
            return Ok(Renamed::Taken);
        }
        if let Some(location) = state.tables.remove(from) {
            state.tables.insert(to.clone(), location);
        }
        Ok(Renamed::Done)
    }

    fn identity(&self) -> String {
        format!("memory {}", self.id)
    }

    fn settles_after(&self) -> Duration {
        Duration::ZERO
    }
}
