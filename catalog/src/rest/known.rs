//! Tables as the service last described them, with the tag of that answer: a load that finds it unchanged (304) brings no
//! metadata. Source: the REST protocol's loadTable, `ETag` and `If-None-Match`.

use std::collections::HashMap;

use iceberg::TableIdent;
use parking_lot::Mutex;

use crate::Table;

/// Tables that are remembered; more than that, and all are asked for anew.
const TABLES_MAX: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Known {
    tables: Mutex<HashMap<TableIdent, (String, Table)>>,
}

impl Known {
    /// The tag and the table, if the service gave one.
    pub(super) fn get(&self, table: &TableIdent) -> Option<(String, Table)> {
        self.tables.lock().get(table).cloned()
    }

    pub(super) fn keep(&self, table: &TableIdent, etag: Option<String>, loaded: &Table) {
        let mut tables = self.tables.lock();
        match etag {
            None => drop(tables.remove(table)),
            Some(etag) => {
                if tables.len() >= TABLES_MAX {
                    tables.clear();
                }
                tables.insert(table.clone(), (etag, loaded.clone()));
            }
        }
    }

    pub(super) fn forget(&self, table: &TableIdent) {
        self.tables.lock().remove(table);
    }
}
