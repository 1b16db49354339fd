//! What one client has chosen: current catalog and schema, and settings on top of the server's.
//!
//! A session belongs to a tenant from its first day. It holds no data and no plan.

use std::collections::BTreeMap;

use parking_lot::RwLock;

/// One client's choices, shared by its statements. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Session {
    tenant: String,
    user: String,
    roles: Vec<String>,
    state: RwLock<State>,
}

/// The part that `USE` and `SET` change.
#[derive(Debug, Clone, Default)]
struct State {
    catalog: Option<String>,
    schema: Option<String>,
    settings: BTreeMap<String, String>,
}

impl Session {
    /// A session that starts in a catalog and schema, usually the server's defaults.
    pub fn new(
        tenant: impl Into<String>,
        user: impl Into<String>,
        catalog: Option<String>,
        schema: Option<String>,
    ) -> Self {
        let state = State { catalog, schema, settings: BTreeMap::new() };
        Self { tenant: tenant.into(), user: user.into(), roles: Vec::new(), state: RwLock::new(state) }
    }

    /// The same session of a user who has these roles as well, as an authenticated token says.
    #[must_use]
    pub fn with_roles(self, roles: Vec<String>) -> Self {
        Self { roles, ..self }
    }

    /// The session as it is now, for a statement that outlives its caller.
    pub(crate) fn as_it_is(&self) -> Self {
        Self {
            tenant: self.tenant.clone(),
            user: self.user.clone(),
            roles: self.roles.clone(),
            state: RwLock::new(self.state.read().clone()),
        }
    }

    /// Whom requests, memory and queues are counted for.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Who asks.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Roles that the user has besides those that settings and grants give.
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// The current catalog, if one is chosen.
    pub fn catalog(&self) -> Option<String> {
        self.state.read().catalog.clone()
    }

    /// The current schema (namespace, dotted), if one is chosen.
    pub fn schema(&self) -> Option<String> {
        self.state.read().schema.clone()
    }

    /// Changes the current catalog; the schema is kept if `schema` is none.
    pub fn set_catalog(&self, catalog: impl Into<String>) {
        self.state.write().catalog = Some(catalog.into());
    }

    /// Changes the current schema.
    pub fn set_schema(&self, schema: impl Into<String>) {
        self.state.write().schema = Some(schema.into());
    }

    /// The settings that differ from the server's, by full name. Values were checked when they were set.
    pub fn settings(&self) -> BTreeMap<String, String> {
        self.state.read().settings.clone()
    }

    /// Records a setting. The engine checks name and value first: `SET`, and `Engine::set_if_unset`.
    pub fn set(&self, name: impl Into<String>, value: impl Into<String>) {
        self.state.write().settings.insert(name.into(), value.into());
    }

    /// Forgets a setting (`Some`) or all of them (`None`), back to the server's values.
    pub fn reset(&self, name: Option<&str>) {
        let mut state = self.state.write();
        match name {
            Some(name) => drop(state.settings.remove(name)),
            None => state.settings.clear(),
        }
    }
}
