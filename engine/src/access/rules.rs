//! Roles, their grants and their users, from one source: the settings, or the control database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{AccessSettings, Grant, Privilege, Scope};
use crate::statement::{GrantObject, parse_grant};
use crate::{Error, Result, TableName};

/// The role of those who may do everything.
pub(crate) const ADMIN: &str = "admin";
/// Everybody's role.
pub(crate) const PUBLIC: &str = "public";

/// What one source says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    admins: BTreeSet<String>,
    roles: BTreeMap<String, Arc<Vec<Grant>>>,
    /// The roles of each user.
    users: BTreeMap<String, BTreeSet<String>>,
}

impl Rules {
    /// The rules of the settings.
    ///
    /// # Errors
    /// Names the setting with a grant that cannot be read, or with a role that no source can have.
    pub(crate) fn of_settings(settings: &AccessSettings, sql_too: bool) -> Result<Self> {
        let mut rules = Self { admins: settings.admins.iter().cloned().collect(), ..Self::default() };
        for (role, given) in &settings.roles {
            let wrong = |message: String| Error::Settings { setting: format!("access.roles.{role}.grants"), message };
            if role == ADMIN && !given.grants.is_empty() {
                return Err(wrong("the role admin may do everything, and has no grants".to_owned()));
            }
            rules.add_role(role);
            for text in &given.grants {
                let grants = grants(text).map_err(|error| wrong(format!("'{text}': {error}")))?;
                grants.into_iter().for_each(|grant| rules.add_grant(role, grant));
            }
        }
        for (user, given) in &settings.users {
            for role in &given.roles {
                let known = sql_too || rules.has_role(role) || role == ADMIN || role == PUBLIC;
                if !known {
                    return Err(Error::Settings {
                        setting: format!("access.users.{user}.roles"),
                        message: format!("there is no role {role}: add a section [access.roles.{role}]"),
                    });
                }
                rules.add_member(role, user);
            }
        }
        Ok(rules)
    }

    pub(crate) fn add_role(&mut self, role: &str) {
        self.roles.entry(role.to_owned()).or_default();
    }

    pub(crate) fn add_grant(&mut self, role: &str, grant: Grant) {
        let grants = Arc::make_mut(self.roles.entry(role.to_owned()).or_default());
        if !grants.contains(&grant) {
            grants.push(grant);
        }
    }

    pub(crate) fn add_member(&mut self, role: &str, user: &str) {
        self.users.entry(user.to_owned()).or_default().insert(role.to_owned());
    }

    /// Whether the user is named as one who may do everything.
    pub(crate) fn is_admin(&self, user: &str) -> bool {
        self.admins.contains(user) || self.users.get(user).is_some_and(|roles| roles.contains(ADMIN))
    }

    pub(crate) fn has_role(&self, role: &str) -> bool {
        self.roles.contains_key(role)
    }

    /// The roles that a user was given.
    pub(crate) fn roles_of(&self, user: &str) -> impl Iterator<Item = String> {
        self.users.get(user).into_iter().flatten().cloned()
    }

    /// What a role was given, if the source knows it.
    pub(crate) fn grants_of(&self, role: &str) -> Option<Arc<Vec<Grant>>> {
        self.roles.get(role).cloned()
    }

    /// The roles, sorted.
    pub(crate) fn role_names(&self) -> impl Iterator<Item = &String> {
        self.roles.keys()
    }

    /// Users and their roles, sorted; those named as admins among them.
    pub(crate) fn members(&self) -> Vec<(String, String)> {
        let admins = self.admins.iter().map(|user| (ADMIN.to_owned(), user.clone()));
        let given = self.users.iter().flat_map(|(user, roles)| roles.iter().map(|role| (role.clone(), user.clone())));
        let mut members: Vec<_> = admins.chain(given).collect();
        members.sort();
        members.dedup();
        members
    }
}

/// The grants of a text in the settings, such as `SELECT, INSERT ON lake.sales.*`. Its names have no session to complete them.
fn grants(text: &str) -> Result<Vec<Grant>> {
    let (privileges, object) = parse_grant(text)?;
    let scope = match object {
        GrantObject::Everything => Scope::Everything,
        GrantObject::Catalog(catalog) => Scope::Catalog(catalog),
        GrantObject::Schema(parts) => match <[String; 2]>::try_from(parts) {
            Ok([catalog, schema]) => Scope::Schema(catalog, schema),
            Err(_) => return Err(Error::Invalid("a schema is written as catalog.schema.*".to_owned())),
        },
        GrantObject::Table(parts) => match <[String; 3]>::try_from(parts) {
            Ok([catalog, schema, table]) => Scope::Table(TableName { catalog, schema, table }),
            Err(_) => return Err(Error::Invalid("a table is written as catalog.schema.table".to_owned())),
        },
    };
    check_scope(&privileges, &scope)?;
    Ok(privileges.into_iter().map(|privilege| Grant { privilege, scope: scope.clone() }).collect())
}

/// CREATE alone says nothing about a table that is there; within ALL it does no harm.
///
/// # Errors
/// If a privilege can never be used on the scope.
pub(crate) fn check_scope(privileges: &[Privilege], scope: &Scope) -> Result<()> {
    let only_for_schemas = privileges.contains(&Privilege::Create) && privileges.len() < Privilege::ALL.len();
    match scope {
        Scope::Table(_) if only_for_schemas => Err(Error::Invalid(
            "CREATE is granted on a schema (catalog.schema.*) or a catalog (catalog.*), not on a table".to_owned(),
        )),
        _ => Ok(()),
    }
}
