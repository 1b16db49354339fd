//! Who may do what, and who sees what.
//!
//! ```text
//! session (user, roles) ─► AccessControl::of ─► Access ─┬─► Engine::catalog: what the caller may not see is not there
//!                            settings, SQL grants       └─► Access::require: what the caller sees and may not do is refused
//! ```
//! Grants only add: what nothing grants is denied. An object on which the caller has no privilege at all does not exist for the
//! caller, on any path, because every path reaches names through a catalog that leaves them out ([`visible`]). Without the
//! section `[access]` everybody may do everything.

mod again;
mod grant;
mod rights;
mod rules;
mod settings;
mod store;
mod visible;

use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) use again::ReadRights;
pub(crate) use grant::{Grant, Object, Privilege, Scope};
pub use rights::Access;
pub(crate) use rules::{ADMIN, PUBLIC, Rules, check_scope};
pub use settings::{AccessSettings, ControlSettings, RoleSettings, UserSettings};
pub(crate) use store::GrantStore;
pub(crate) use visible::VisibleCatalog;

use crate::{Error, Result, Session, Settings};

/// The grants in force: those of the settings, and those that SQL gave.
#[derive(Debug)]
pub(crate) struct AccessControl {
    /// None: everybody may do everything.
    rules: Option<Rules>,
    /// None: the settings alone decide.
    store: Option<GrantStore>,
}

impl AccessControl {
    /// # Errors
    /// If the settings have a grant that cannot be read, a role that is nowhere, or a bad address.
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let Some(access) = settings.access.as_ref().filter(|access| access.enabled) else {
            return Ok(Self { rules: None, store: None });
        };
        let store = match &settings.control.database {
            Some(address) => Some(GrantStore::new(address, access.grants_max_age)?),
            None => None,
        };
        Ok(Self { rules: Some(Rules::of_settings(access, store.is_some())?), store })
    }

    /// What a session may do now.
    ///
    /// # Errors
    /// If the grants are in the control database and it is away: nobody is let in on old grants.
    pub(crate) async fn of(&self, session: &Session) -> Result<Arc<Access>> {
        self.of_user(session.user(), session.roles()).await
    }

    /// What a user with these roles, besides those that are granted, may do now.
    ///
    /// # Errors
    /// As [`AccessControl::of`].
    pub(crate) async fn of_user(&self, user: &str, own_roles: &[String]) -> Result<Arc<Access>> {
        let Some(rules) = &self.rules else { return Ok(Arc::new(Access::unrestricted(user))) };
        // Those whom the settings call admins can also mend what is wrong with the control database.
        if rules.is_admin(user) {
            return Ok(Arc::new(Access::admin(user, [ADMIN.to_owned()].into())));
        }
        let stored = self.stored().await?;
        let sources = || [Some(rules), stored.as_deref()].into_iter().flatten();
        let mut roles: BTreeSet<String> = own_roles.iter().cloned().collect();
        roles.insert(PUBLIC.to_owned());
        roles.extend(sources().flat_map(|source| source.roles_of(user)));
        if roles.contains(ADMIN) {
            return Ok(Arc::new(Access::admin(user, roles)));
        }
        let grants = sources().flat_map(|source| roles.iter().filter_map(move |role| source.grants_of(role))).collect();
        Ok(Arc::new(Access::granted(user, roles, grants)))
    }

    /// Whether what a session may do can change while the process runs.
    pub(crate) fn can_change(&self) -> bool {
        self.store.is_some()
    }

    /// The rules of the settings.
    ///
    /// # Errors
    /// If access is not controlled at all.
    pub(crate) fn rules(&self) -> Result<&Rules> {
        self.rules.as_ref().ok_or_else(|| Error::Settings {
            setting: "access".to_owned(),
            message: "access is not controlled, everybody may do everything: add a section [access] to the settings"
                .to_owned(),
        })
    }

    /// The rules that SQL gave; none if there is no control database.
    pub(crate) async fn stored(&self) -> Result<Option<Arc<Rules>>> {
        match &self.store {
            Some(store) => store.rules().await.map(Some),
            None => Ok(None),
        }
    }

    /// Where GRANT and REVOKE write.
    ///
    /// # Errors
    /// If access is not controlled, or there is no control database.
    pub(crate) fn store(&self) -> Result<&GrantStore> {
        self.rules()?;
        self.store.as_ref().ok_or_else(|| Error::Settings {
            setting: "control.database".to_owned(),
            message: "it is not set, so grants are only in the settings (section [access]); set it to \
                      sqlite:///path/control.db or postgresql://… to use GRANT and REVOKE"
                .to_owned(),
        })
    }
}

#[cfg(test)]
mod tests;
