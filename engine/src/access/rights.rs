//! What one caller may do: the decisions, from grants that were collected before. Asks nobody.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Grant, Object, Privilege};
use crate::{Error, Result, TableName};

/// What a caller may do, as of one moment.
#[derive(Debug, Clone)]
pub struct Access {
    user: String,
    roles: BTreeSet<String>,
    rights: Rights,
}

#[derive(Debug, Clone, PartialEq)]
enum Rights {
    /// Access is not controlled.
    Unrestricted,
    /// Everything, and giving grants.
    Admin,
    /// What is granted, and nothing else.
    Granted(Vec<Arc<Vec<Grant>>>),
}

impl Access {
    /// Everything, because access is not controlled.
    pub(crate) fn unrestricted(user: &str) -> Self {
        Self { user: user.to_owned(), roles: BTreeSet::new(), rights: Rights::Unrestricted }
    }

    /// Everything, and giving grants.
    pub(crate) fn admin(user: &str, roles: BTreeSet<String>) -> Self {
        Self { user: user.to_owned(), roles, rights: Rights::Admin }
    }

    /// What the grants say, and nothing else.
    pub(crate) fn granted(user: &str, roles: BTreeSet<String>, grants: Vec<Arc<Vec<Grant>>>) -> Self {
        Self { user: user.to_owned(), roles, rights: Rights::Granted(grants) }
    }

    /// Whether nothing is forbidden or hidden.
    pub fn is_everything(&self) -> bool {
        !matches!(self.rights, Rights::Granted(_))
    }

    /// Whether just the same is allowed as at another moment.
    pub(crate) fn is_the_same(&self, before: &Self) -> bool {
        self.rights == before.rights
    }

    /// Whether all is still allowed that was allowed before.
    pub(crate) fn includes(&self, before: &Self) -> bool {
        match (&self.rights, &before.rights) {
            (Rights::Unrestricted | Rights::Admin, _) => true,
            (Rights::Granted(_), Rights::Unrestricted | Rights::Admin) => false,
            (Rights::Granted(_), Rights::Granted(before)) => {
                before.iter().flat_map(|grants| grants.iter()).all(|grant| self.any_grant(|own| own == grant))
            }
        }
    }

    /// Who asks.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// The caller's roles.
    pub(crate) fn roles(&self) -> &BTreeSet<String> {
        &self.roles
    }

    /// Whether the caller may know of a user's statements, and stop them.
    pub fn may_see_queries_of(&self, user: &str) -> bool {
        self.is_everything() || self.user == user
    }

    /// Whether there is such a catalog, for the caller.
    pub fn sees_catalog(&self, catalog: &str) -> bool {
        self.any_grant(|grant| grant.scope.touches_catalog(catalog))
    }

    /// Whether there is such a schema, for the caller: something is granted on it, in it, or in a schema nested in it.
    pub fn sees_schema(&self, catalog: &str, schema: &str) -> bool {
        self.any_grant(|grant| grant.scope.touches_schema(catalog, schema))
    }

    /// Whether there is such a table, for the caller: something is granted on it.
    pub fn sees_table(&self, table: &TableName) -> bool {
        self.any_grant(|grant| grant.privilege.is_on_tables() && grant.scope.covers(Object::Table(table)))
    }

    /// Whether the caller has a privilege.
    pub(crate) fn has(&self, privilege: Privilege, object: Object<'_>) -> bool {
        self.any_grant(|grant| grant.privilege == privilege && grant.scope.covers(object))
    }

    /// Refuses a caller who lacks a privilege on something that the caller sees: the message names it.
    ///
    /// # Errors
    /// `PermissionDenied` names the privilege, the object, and the grant that would help.
    pub(crate) fn require(&self, privilege: Privilege, object: Object<'_>) -> Result<()> {
        if self.has(privilege, object) {
            return Ok(());
        }
        Err(Error::PermissionDenied(format!(
            "user {} lacks {privilege} on {object}; an admin can give it to one of the user's roles: \
             GRANT {privilege} ON {} TO ROLE …",
            self.user,
            object.scope()
        )))
    }

    /// Refuses everybody but admins.
    ///
    /// # Errors
    /// `PermissionDenied` names the action.
    pub(crate) fn require_admin(&self, action: &str) -> Result<()> {
        if self.is_everything() {
            return Ok(());
        }
        Err(Error::PermissionDenied(format!(
            "user {} is no admin, and only admins may {action}; an admin can change that: GRANT ROLE admin TO USER …",
            self.user
        )))
    }

    fn any_grant(&self, wanted: impl Fn(&Grant) -> bool) -> bool {
        match &self.rights {
            Rights::Unrestricted | Rights::Admin => true,
            Rights::Granted(grants) => grants.iter().any(|grants| grants.iter().any(&wanted)),
        }
    }
}
