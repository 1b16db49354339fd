//! Opens a catalog from its settings.

use std::str::FromStr;
use std::sync::Arc;

use crate::memory::MemoryPointers;
use crate::metadata_cache::MetadataCache;
use crate::pointer::PointerCatalog;
use crate::rest::RestCatalog;
use crate::settings::{CatalogSettings, CatalogType};
use crate::sql::{Address, SqlPointers};
use crate::storage::Storage;
use crate::{Catalog, Error, Result};

/// Where the memory catalog puts tables if its settings do not say.
const MEMORY_WAREHOUSE: &str = "memory://warehouse";

/// Opens the catalog that users call `key`.
///
/// The settings are checked here; the service is reached at the first use, so that a catalog that is down does not keep
/// a server from starting, and comes back without a restart.
///
/// # Errors
/// `Settings` names the setting that is missing or wrong.
pub async fn open_catalog(
    key: &str,
    settings: &CatalogSettings,
    cache: &Arc<MetadataCache>,
) -> Result<Arc<dyn Catalog>> {
    let cache = Arc::clone(cache);
    match settings.r#type {
        CatalogType::Rest => Ok(Arc::new(RestCatalog::new(key, settings.clone())?)),
        CatalogType::Sql => {
            let wrong = |message: String| Error::Settings { setting: format!("catalog.{key}.uri"), message };
            let uri = settings.uri.as_deref().ok_or_else(|| wrong("is missing".to_owned()))?;
            let address = Address::from_str(uri).map_err(wrong)?;
            let pointers = SqlPointers::new(key, settings.name.as_deref().unwrap_or(key), &address);
            let storage = Storage::new(&settings.storage_properties())?;
            Ok(Arc::new(PointerCatalog::new(key, settings.warehouse.clone(), storage, cache, pointers)))
        }
        CatalogType::Memory => {
            let mut settings = settings.clone();
            let warehouse = settings.warehouse.get_or_insert_with(|| MEMORY_WAREHOUSE.to_owned()).clone();
            let storage = Storage::new(&settings.storage_properties())?;
            Ok(Arc::new(PointerCatalog::new(key, Some(warehouse), storage, cache, MemoryPointers::default())))
        }
    }
}
