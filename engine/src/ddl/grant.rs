//! GRANT, REVOKE, CREATE ROLE, DROP ROLE, SHOW GRANTS, SHOW ROLES.
//!
//! They change the control database; what the settings say is shown beside it and changed nowhere but in the settings. Only
//! admins give, take, and look at others.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::TableReference;

use super::drop::find_table;
use super::name::require_schema;
use super::show::{text_rows, text_schema};
use crate::access::{ADMIN, Access, PUBLIC, Rules, Scope, check_scope};
use crate::change::Change;
use crate::statement::{AccessStatement, GivenPrivileges, GrantObject, GrantsOf};
use crate::{Engine, Error, Result, Session};

const GRANTS: [&str; 4] = ["role", "privilege", "object", "source"];
const ROLES: [&str; 3] = ["role", "user", "source"];
/// Where a grant is from.
const SETTINGS: &str = "settings";
const SQL: &str = "sql";
const BUILT_IN: &str = "built in";

/// What a statement gives back.
pub(super) enum Outcome {
    Done(&'static str),
    Rows(RecordBatch),
}

/// The columns that a statement gives; none if it gives no rows.
pub(super) fn schema(statement: &AccessStatement) -> Option<SchemaRef> {
    match statement {
        AccessStatement::ShowGrants(_) => Some(text_schema(&GRANTS)),
        AccessStatement::ShowRoles => Some(text_schema(&ROLES)),
        _ => None,
    }
}

pub(super) async fn execute(
    engine: &Arc<Engine>,
    statement: AccessStatement,
    session: &Session,
    change: &Change,
) -> Result<Outcome> {
    // Says what is missing before it says who may.
    let settings = engine.access_control().rules()?;
    let access = engine.access(session).await?;
    match statement {
        AccessStatement::ShowGrants(of) => return show_grants(engine, of, &access).await.map(Outcome::Rows),
        AccessStatement::ShowRoles => return show_roles(engine, &access).await.map(Outcome::Rows),
        _ => access.require_admin("change roles and grants")?,
    }
    let store = engine.access_control().store()?;
    let known = Known { settings, stored: store.rules().await? };
    match statement {
        AccessStatement::Privileges(given) => privileges(engine, given, &known, session, &access, change).await,
        AccessStatement::Roles { give: true, roles, users } => {
            known.check_roles(&roles)?;
            change.begin()?;
            store.add_members(&roles, &users).await.map(|()| Outcome::Done("GRANT"))
        }
        AccessStatement::Roles { give: false, roles, users } => {
            change.begin()?;
            if store.remove_members(&roles, &users).await? == 0 {
                let what = format!("of role {} to user {}", roles.join(", "), users.join(", "));
                return Err(no_such_grant(
                    what,
                    "SHOW ROLES lists who has which; what is in the settings is changed there",
                ));
            }
            Ok(Outcome::Done("REVOKE"))
        }
        AccessStatement::CreateRole { role, if_not_exists } => {
            change.begin()?;
            let created = !known.has_role(&role) && store.create_role(&role).await?;
            match created || if_not_exists {
                true => Ok(Outcome::Done("CREATE ROLE")),
                false => Err(Error::AlreadyExists { kind: "role", name: role }),
            }
        }
        AccessStatement::DropRole { role, if_exists } => {
            if known.is_fixed(&role) {
                let message = format!("role {role} is built in or in the settings: it cannot be dropped here");
                return Err(Error::Invalid(message));
            }
            change.begin()?;
            match store.drop_role(&role).await? || if_exists {
                true => Ok(Outcome::Done("DROP ROLE")),
                false => Err(Error::not_found("role", role)),
            }
        }
        AccessStatement::ShowGrants(_) | AccessStatement::ShowRoles => {
            Err(Error::Internal("SHOW was answered before".to_owned()))
        }
    }
}

/// The roles that there are.
struct Known<'a> {
    settings: &'a Rules,
    stored: Arc<Rules>,
}

impl Known<'_> {
    /// Whether the role is there whatever SQL says.
    fn is_fixed(&self, role: &str) -> bool {
        role == ADMIN || role == PUBLIC || self.settings.has_role(role)
    }

    fn has_role(&self, role: &str) -> bool {
        self.is_fixed(role) || self.stored.has_role(role)
    }

    fn check_roles(&self, roles: &[String]) -> Result<()> {
        match roles.iter().find(|role| !self.has_role(role)) {
            None => Ok(()),
            Some(role) => {
                let hint = format!(": CREATE ROLE {role} makes it");
                Err(Error::NotFound { kind: "role", name: role.clone(), hint })
            }
        }
    }
}

/// GRANT and REVOKE of privileges.
async fn privileges(
    engine: &Arc<Engine>,
    given: GivenPrivileges,
    known: &Known<'_>,
    session: &Session,
    access: &Arc<Access>,
    change: &Change,
) -> Result<Outcome> {
    let GivenPrivileges { give, privileges, object, roles } = given;
    let store = engine.access_control().store()?;
    known.check_roles(&roles)?;
    let scope = scope(engine, object, give, session, access).await?;
    if give {
        check_scope(&privileges, &scope)?;
        if roles.iter().any(|role| role == ADMIN) {
            return Err(Error::Invalid("the role admin may do everything already".to_owned()));
        }
        change.begin()?;
        store.grant(&roles, &privileges, &scope).await?;
        return Ok(Outcome::Done("GRANT"));
    }
    change.begin()?;
    // A wider grant would still allow it: nobody should believe that something was taken that was not.
    if store.revoke(&roles, &privileges, &scope).await? == 0 {
        let words: Vec<&str> = privileges.iter().map(|privilege| privilege.word()).collect();
        let what = format!("of {} ON {scope} to role {}", words.join(", "), roles.join(", "));
        let hint =
            "SHOW GRANTS FOR ROLE … lists what a role has, on exactly what; grants in the settings are changed there";
        return Err(no_such_grant(what, hint));
    }
    Ok(Outcome::Done("REVOKE"))
}

fn no_such_grant(what: String, hint: &str) -> Error {
    Error::NotFound { kind: "grant", name: what, hint: format!(": {hint}") }
}

/// An object with its full name, as the catalog has it. What is given must be there; what is taken need not be any more.
async fn scope(
    engine: &Arc<Engine>,
    object: GrantObject,
    give: bool,
    session: &Session,
    access: &Arc<Access>,
) -> Result<Scope> {
    match object {
        GrantObject::Everything => Ok(Scope::Everything),
        GrantObject::Catalog(catalog) => match engine.catalog(&catalog, access) {
            Err(error) if give => Err(error),
            _ => Ok(Scope::Catalog(catalog)),
        },
        GrantObject::Schema(parts) => {
            let (catalog, schema) = match <[String; 2]>::try_from(parts) {
                Ok([catalog, schema]) => (catalog, schema),
                Err(parts) => (engine.current_catalog(session)?, parts.join(".")),
            };
            let found = match engine.catalog(&catalog, access) {
                Ok(found) => require_schema(found.as_ref(), &schema).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(schema) => Ok(Scope::Schema(catalog, schema)),
                Err(Error::NotFound { .. }) if !give => Ok(Scope::Schema(catalog, schema)),
                Err(error) => Err(error),
            }
        }
        GrantObject::Table(parts) => {
            let asked = engine.resolve_name(&reference(parts), session)?;
            match find_table(engine, &asked, false, access).await {
                Ok(found) => Ok(Scope::Table(found.unwrap_or(asked))),
                Err(Error::NotFound { .. }) if !give => Ok(Scope::Table(asked)),
                Err(error) => Err(error),
            }
        }
    }
}

/// A table's name of up to three parts.
fn reference(parts: Vec<String>) -> TableReference {
    match <[String; 3]>::try_from(parts) {
        Ok([catalog, schema, table]) => TableReference::full(catalog, schema, table),
        Err(parts) => match <[String; 2]>::try_from(parts) {
            Ok([schema, table]) => TableReference::partial(schema, table),
            Err(parts) => TableReference::bare(parts.join(".")),
        },
    }
}

/// Both sources, as they are named to users.
async fn sources(engine: &Engine) -> Result<Vec<(&'static str, Arc<Rules>)>> {
    let control = engine.access_control();
    let mut sources = vec![(SETTINGS, Arc::new(control.rules()?.clone()))];
    sources.extend(control.stored().await?.map(|stored| (SQL, stored)));
    Ok(sources)
}

async fn show_grants(engine: &Engine, of: GrantsOf, access: &Access) -> Result<RecordBatch> {
    let is_own = match &of {
        GrantsOf::Caller => true,
        GrantsOf::Role(role) => access.roles().contains(role),
        GrantsOf::User(user) => user == access.user(),
    };
    if !is_own {
        access.require_admin("look at the grants of others")?;
    }
    let sources = sources(engine).await?;
    let roles: Vec<String> = match of {
        GrantsOf::Caller => access.roles().iter().cloned().collect(),
        GrantsOf::Role(role) => vec![role],
        // The caller's roles may come from a token as well.
        GrantsOf::User(_) if is_own => access.roles().iter().cloned().collect(),
        GrantsOf::User(user) => {
            let members = sources.iter().flat_map(|(_, rules)| rules.members());
            let mut roles: Vec<String> = members
                .filter(|(_, member)| *member == user)
                .map(|(role, _)| role)
                .chain([PUBLIC.to_owned()])
                .collect();
            roles.sort();
            roles.dedup();
            roles
        }
    };
    let mut rows = Vec::new();
    for role in roles {
        if role == ADMIN {
            rows.push([ADMIN, "ALL", "*", BUILT_IN].map(|text| Some(text.to_owned())).to_vec());
        }
        for (source, rules) in &sources {
            let mut grants: Vec<_> = rules.grants_of(&role).map(|grants| grants.to_vec()).unwrap_or_default();
            grants.sort_by_key(|grant| (grant.scope.to_string(), grant.privilege));
            rows.extend(grants.into_iter().map(|grant| {
                let cells = [role.clone(), grant.privilege.to_string(), grant.scope.to_string(), (*source).to_owned()];
                cells.map(Some).to_vec()
            }));
        }
    }
    text_rows(&GRANTS, rows)
}

/// Roles and who has them: all for admins, one's own for others.
async fn show_roles(engine: &Engine, access: &Access) -> Result<RecordBatch> {
    if !access.is_everything() {
        let own = access.roles().iter().map(|role| vec![Some(role.clone()), Some(access.user().to_owned()), None]);
        return text_rows(&ROLES, own.collect());
    }
    let mut rows: Vec<Vec<Option<String>>> =
        [ADMIN, PUBLIC].map(|role| vec![Some(role.to_owned()), None, Some(BUILT_IN.to_owned())]).to_vec();
    for (source, rules) in sources(engine).await? {
        let names = rules.role_names().map(|role| vec![Some(role.clone()), None, Some(source.to_owned())]);
        rows.extend(names);
        let members = rules.members().into_iter();
        rows.extend(members.map(|(role, user)| vec![Some(role), Some(user), Some(source.to_owned())]));
    }
    text_rows(&ROLES, rows)
}
