//! Grants that SQL gave, in the control database.
//!
//! Read whole, by one query, and kept for a moment: short, because other coordinators change them, too. What this process
//! changes is seen by its next statement. While the database is away nothing is answered from old knowledge.

use std::sync::Arc;
use std::time::{Duration, Instant};

use polynya_catalog::{ControlChange, ControlDatabase};
use tokio::sync::{Mutex, OnceCell};

use super::{Grant, Privilege, Rules, Scope};
use crate::{Error, Result, TableName};

const CREATE_TABLES: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS polynya_roles (role_name TEXT NOT NULL, PRIMARY KEY (role_name))",
    "CREATE TABLE IF NOT EXISTS polynya_grants (\
     role_name TEXT NOT NULL, privilege TEXT NOT NULL, \
     catalog_name TEXT NOT NULL, schema_name TEXT NOT NULL, table_name TEXT NOT NULL, \
     PRIMARY KEY (role_name, privilege, catalog_name, schema_name, table_name))",
    "CREATE TABLE IF NOT EXISTS polynya_role_members (\
     role_name TEXT NOT NULL, user_name TEXT NOT NULL, PRIMARY KEY (role_name, user_name))",
];
/// One statement, so that it sees one moment.
const READ_ALL: &str = "SELECT 'role', role_name, '', '', '', '' FROM polynya_roles \
    UNION ALL SELECT 'grant', role_name, privilege, catalog_name, schema_name, table_name FROM polynya_grants \
    UNION ALL SELECT 'member', role_name, user_name, '', '', '' FROM polynya_role_members";
const ADD_GRANT: &str = "INSERT INTO polynya_grants (role_name, privilege, catalog_name, schema_name, table_name) \
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
const REMOVE_GRANT: &str = "DELETE FROM polynya_grants WHERE role_name = $1 AND privilege = $2 \
    AND catalog_name = $3 AND schema_name = $4 AND table_name = $5";
const ADD_MEMBER: &str =
    "INSERT INTO polynya_role_members (role_name, user_name) VALUES ($1, $2) ON CONFLICT DO NOTHING";
const REMOVE_MEMBER: &str = "DELETE FROM polynya_role_members WHERE role_name = $1 AND user_name = $2";
const ADD_ROLE: &str = "INSERT INTO polynya_roles (role_name) VALUES ($1) ON CONFLICT DO NOTHING";
const REMOVE_ROLE: &str = "DELETE FROM polynya_roles WHERE role_name = $1";
const REMOVE_GRANTS_OF_ROLE: &str = "DELETE FROM polynya_grants WHERE role_name = $1";
const REMOVE_MEMBERS_OF_ROLE: &str = "DELETE FROM polynya_role_members WHERE role_name = $1";

/// How long a failure is repeated without asking again: statements that waited behind it do not each wait for a deadline.
const FAILURE_REPEATED: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct GrantStore {
    database: ControlDatabase,
    max_age: Duration,
    prepared: OnceCell<()>,
    known: Mutex<Known>,
}

/// What was read last.
#[derive(Debug, Default)]
struct Known {
    rules: Option<(Arc<Rules>, Instant)>,
    failure: Option<(Arc<polynya_catalog::Error>, Instant)>,
}

impl GrantStore {
    /// # Errors
    /// If it is no address.
    pub(crate) fn new(address: &str, max_age: Duration) -> Result<Self> {
        let database = ControlDatabase::new(address)?;
        Ok(Self { database, max_age, prepared: OnceCell::new(), known: Mutex::default() })
    }

    /// The rules as they were a moment ago, at most.
    ///
    /// # Errors
    /// If the database is away: `Unavailable`, trying again may help.
    pub(crate) async fn rules(&self) -> Result<Arc<Rules>> {
        // Held while they are read: one reader asks, the others wait for its answer.
        let mut known = self.known.lock().await;
        if let Some((rules, at)) = &known.rules
            && at.elapsed() < self.max_age
        {
            return Ok(Arc::clone(rules));
        }
        if let Some((failure, at)) = &known.failure
            && at.elapsed() < FAILURE_REPEATED
        {
            return Err(away(failure));
        }
        match self.read().await {
            Ok(rules) => {
                let rules = Arc::new(rules);
                *known = Known { rules: Some((Arc::clone(&rules), Instant::now())), failure: None };
                Ok(rules)
            }
            Err(failure) => {
                let failure = Arc::new(failure);
                *known = Known { rules: None, failure: Some((Arc::clone(&failure), Instant::now())) };
                Err(away(&failure))
            }
        }
    }

    async fn read(&self) -> polynya_catalog::Result<Rules> {
        self.prepare().await?;
        let mut rules = Rules::default();
        for row in self.database.fetch(READ_ALL, "reading grants").await? {
            add(&mut rules, row.into_iter().map(Option::unwrap_or_default).collect());
        }
        Ok(rules)
    }

    async fn prepare(&self) -> polynya_catalog::Result<()> {
        self.prepared.get_or_try_init(async || self.database.prepare(&CREATE_TABLES).await).await.copied()
    }

    /// Gives a role privileges on something. Those that it has already are no error.
    pub(crate) async fn grant(&self, roles: &[String], privileges: &[Privilege], scope: &Scope) -> Result<()> {
        self.change(grants(ADD_GRANT, roles, privileges, scope), "granting").await.map(drop)
    }

    /// Takes privileges from roles; how many grants that were.
    pub(crate) async fn revoke(&self, roles: &[String], privileges: &[Privilege], scope: &Scope) -> Result<u64> {
        let removed = self.change(grants(REMOVE_GRANT, roles, privileges, scope), "revoking").await?;
        Ok(removed.into_iter().sum())
    }

    /// Gives users roles. Those that they have already are no error.
    pub(crate) async fn add_members(&self, roles: &[String], users: &[String]) -> Result<()> {
        self.change(members(ADD_MEMBER, roles, users), "granting roles").await.map(drop)
    }

    /// Takes roles from users; how many that were.
    pub(crate) async fn remove_members(&self, roles: &[String], users: &[String]) -> Result<u64> {
        let removed = self.change(members(REMOVE_MEMBER, roles, users), "revoking roles").await?;
        Ok(removed.into_iter().sum())
    }

    /// Adds a role; whether it was not there.
    pub(crate) async fn create_role(&self, role: &str) -> Result<bool> {
        let changes = vec![ControlChange::new(ADD_ROLE, [role])];
        Ok(self.change(changes, "creating a role").await? == [1])
    }

    /// Removes a role with its grants and members; whether it was there.
    pub(crate) async fn drop_role(&self, role: &str) -> Result<bool> {
        let all = [REMOVE_ROLE, REMOVE_GRANTS_OF_ROLE, REMOVE_MEMBERS_OF_ROLE];
        let changes = all.map(|sql| ControlChange::new(sql, [role])).into();
        Ok(self.change(changes, "dropping a role").await?.first() == Some(&1))
    }

    /// Changes rows, and forgets what was read before, whatever became of the change.
    async fn change(&self, changes: Vec<ControlChange>, action: &str) -> Result<Vec<u64>> {
        self.prepare().await?;
        let changed = self.database.execute(changes, action).await;
        // A reader who is under way ends first: what it read is forgotten as well.
        *self.known.lock().await = Known::default();
        Ok(changed?)
    }
}

/// A failure that several statements meet at once.
fn away(failure: &Arc<polynya_catalog::Error>) -> Error {
    match failure.as_ref() {
        polynya_catalog::Error::Unavailable { .. } => Error::Catalog(polynya_catalog::Error::Unavailable {
            service: "the control database, which holds the grants,".to_owned(),
            action: "nobody is let in without them; try again".to_owned(),
            source: Box::new(Arc::clone(failure)),
        }),
        polynya_catalog::Error::Settings { setting, message } => {
            Error::Settings { setting: setting.clone(), message: message.clone() }
        }
        other => Error::Settings { setting: "control.database".to_owned(), message: other.to_string() },
    }
}

/// One row of what is read.
fn add(rules: &mut Rules, row: Vec<String>) {
    let Ok([kind, role, what, catalog, schema, table]) = <[String; 6]>::try_from(row) else { return };
    match kind.as_str() {
        "role" => rules.add_role(&role),
        "member" => rules.add_member(&role, &what),
        _ => match Privilege::of_word(&what) {
            Some(privilege) => rules.add_grant(&role, Grant { privilege, scope: scope(catalog, schema, table) }),
            // A newer version may know more; what is not understood allows nothing.
            None => tracing::warn!(role, privilege = what, "a grant with an unknown privilege is left out"),
        },
    }
}

/// The scope of a row: a part that is empty stands for all.
fn scope(catalog: String, schema: String, table: String) -> Scope {
    match (catalog.is_empty(), schema.is_empty(), table.is_empty()) {
        (true, _, _) => Scope::Everything,
        (false, true, _) => Scope::Catalog(catalog),
        (false, false, true) => Scope::Schema(catalog, schema),
        (false, false, false) => Scope::Table(TableName { catalog, schema, table }),
    }
}

/// The parts of a scope as a row has them.
fn parts(scope: &Scope) -> [&str; 3] {
    match scope {
        Scope::Everything => ["", "", ""],
        Scope::Catalog(catalog) => [catalog, "", ""],
        Scope::Schema(catalog, schema) => [catalog, schema, ""],
        Scope::Table(TableName { catalog, schema, table }) => [catalog, schema, table],
    }
}

fn grants(sql: &'static str, roles: &[String], privileges: &[Privilege], scope: &Scope) -> Vec<ControlChange> {
    let [catalog, schema, table] = parts(scope);
    let change =
        |role: &str, privilege: Privilege| ControlChange::new(sql, [role, privilege.word(), catalog, schema, table]);
    roles
        .iter()
        .flat_map(|role| privileges.iter().map(move |privilege| (role, *privilege)))
        .map(|(role, privilege)| change(role, privilege))
        .collect()
}

fn members(sql: &'static str, roles: &[String], users: &[String]) -> Vec<ControlChange> {
    let pairs = roles.iter().flat_map(|role| users.iter().map(move |user| [role.as_str(), user.as_str()]));
    pairs.map(|pair| ControlChange::new(sql, pair)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(folder: &std::path::Path) -> GrantStore {
        let address = format!("sqlite://{}/control.db", folder.display());
        GrantStore::new(&address, Duration::from_secs(60)).unwrap()
    }

    fn table() -> Scope {
        Scope::Table(TableName { catalog: "lake".into(), schema: "a.b".into(), table: "T".into() })
    }

    #[tokio::test]
    async fn grants_come_back_as_they_were_given() {
        let folder = tempfile::tempdir().unwrap();
        let given = store(folder.path());
        let scopes =
            [Scope::Everything, Scope::Catalog("lake".into()), Scope::Schema("lake".into(), "s".into()), table()];
        for scope in &scopes {
            given.grant(&["r".to_owned()], &[Privilege::Select], scope).await.unwrap();
            given.grant(&["r".to_owned()], &[Privilege::Select], scope).await.unwrap();
        }
        given.add_members(&["r".to_owned()], &["ann".to_owned(), "bob".to_owned()]).await.unwrap();
        for store in [given, store(folder.path())] {
            let rules = store.rules().await.unwrap();
            let mut found: Vec<Scope> = rules.grants_of("r").unwrap().iter().map(|grant| grant.scope.clone()).collect();
            found.sort();
            let mut expected = scopes.to_vec();
            expected.sort();
            assert_eq!(found, expected);
            assert_eq!(rules.roles_of("bob").collect::<Vec<_>>(), ["r"]);
        }
    }

    #[tokio::test]
    async fn what_is_revoked_and_dropped_is_gone_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let role = ["r".to_owned()];
        assert!(store.create_role("r").await.unwrap());
        assert!(!store.create_role("r").await.unwrap());
        store.grant(&role, &[Privilege::Select, Privilege::Insert], &table()).await.unwrap();
        assert_eq!(store.rules().await.unwrap().grants_of("r").unwrap().len(), 2);
        assert_eq!(store.revoke(&role, &Privilege::ALL, &table()).await.unwrap(), 2);
        assert_eq!(store.revoke(&role, &[Privilege::Select], &table()).await.unwrap(), 0);
        assert!(store.rules().await.unwrap().grants_of("r").unwrap().is_empty());
        store.grant(&role, &[Privilege::Select], &table()).await.unwrap();
        store.add_members(&role, &["ann".to_owned()]).await.unwrap();
        assert!(store.drop_role("r").await.unwrap());
        assert!(!store.drop_role("r").await.unwrap());
        let rules = store.rules().await.unwrap();
        assert!(rules.grants_of("r").is_none() && rules.roles_of("ann").next().is_none());
    }

    #[tokio::test]
    async fn nobody_is_let_in_on_old_knowledge() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let address = format!("sqlite://{}/file/control.db", folder.path().display());
        let store = GrantStore::new(&address, Duration::from_secs(60)).unwrap();
        for _ in 0..2 {
            let error = store.rules().await.unwrap_err();
            assert!(matches!(error, Error::Catalog(polynya_catalog::Error::Unavailable { .. })), "{error:?}");
        }
    }
}
