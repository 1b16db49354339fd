//! The decisions, as tables.

use super::*;
use crate::TableName;

fn settings(toml: &[(&str, &[&str])], users: &[(&str, &[&str])]) -> Settings {
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let roles = toml.iter().map(|(role, grants)| ((*role).to_owned(), RoleSettings { grants: strings(grants) }));
    let users = users.iter().map(|(user, roles)| ((*user).to_owned(), UserSettings { roles: strings(roles) }));
    let access = AccessSettings {
        admins: vec!["root".to_owned()],
        roles: roles.collect(),
        users: users.collect(),
        ..AccessSettings::default()
    };
    Settings { access: Some(access), ..Settings::default() }
}

async fn access(settings: &Settings, user: &str) -> Arc<Access> {
    let session = Session::new("default", user, None, None);
    AccessControl::new(settings).unwrap().of(&session).await.unwrap()
}

fn table(name: &str) -> TableName {
    let parts: Vec<&str> = name.split('/').collect();
    TableName { catalog: parts[0].to_owned(), schema: parts[1].to_owned(), table: parts[2].to_owned() }
}

#[tokio::test]
async fn a_table_is_seen_by_those_who_have_something_on_it() {
    for (grant, name, sees, reads) in [
        ("SELECT ON *", "lake/s/t", true, true),
        ("SELECT ON lake.*", "lake/s/t", true, true),
        ("SELECT ON lake.*", "lak/s/t", false, false),
        ("SELECT ON lake.s.*", "lake/s/t", true, true),
        ("SELECT ON lake.s.*", "lake/S/t", false, false),
        ("SELECT ON lake.s.*", "lake/s.b/t", false, false),
        ("SELECT ON lake.\"s.b\".*", "lake/s.b/t", true, true),
        ("SELECT ON lake.s.t", "lake/s/t", true, true),
        ("SELECT ON lake.s.t", "lake/s/t2", false, false),
        ("SELECT ON lake.s.T", "lake/s/t", true, true),
        ("SELECT ON lake.s.\"T\"", "lake/s/t", false, false),
        ("INSERT ON lake.s.t", "lake/s/t", true, false),
        ("DROP ON lake.s.*", "lake/s/t", true, false),
        ("CREATE ON lake.s.*", "lake/s/t", false, false),
        ("ALL ON lake.s.t", "lake/s/t", true, true),
    ] {
        let access = access(&settings(&[("r", &[grant])], &[("ann", &["r"])]), "ann").await;
        let name = table(name);
        assert_eq!(access.sees_table(&name), sees, "{grant} sees {name}");
        assert_eq!(access.has(Privilege::Select, Object::Table(&name)), reads, "{grant} reads {name}");
    }
}

#[tokio::test]
async fn schemas_and_catalogs_are_seen_around_what_is_granted() {
    for (grant, catalog, schema, sees_catalog, sees_schema) in [
        ("SELECT ON lake.s.t", "lake", "s", true, true),
        ("SELECT ON lake.s.t", "lake", "s2", true, false),
        ("SELECT ON lake.s.t", "other", "s", false, false),
        ("CREATE ON lake.s.*", "lake", "s", true, true),
        ("CREATE ON lake.*", "lake", "s", true, true),
        ("SELECT ON lake.\"a.b.c\".t", "lake", "a", true, true),
        ("SELECT ON lake.\"a.b.c\".t", "lake", "a.b", true, true),
        ("SELECT ON lake.\"ab.c\".t", "lake", "a", true, false),
        ("SELECT ON lake.a.*", "lake", "a.b", true, false),
    ] {
        let access = access(&settings(&[("r", &[grant])], &[("ann", &["r"])]), "ann").await;
        assert_eq!(access.sees_catalog(catalog), sees_catalog, "{grant} sees {catalog}");
        assert_eq!(access.sees_schema(catalog, schema), sees_schema, "{grant} sees {catalog}.{schema}");
    }
}

#[tokio::test]
async fn roles_come_from_users_from_tokens_and_from_being_somebody() {
    let settings = settings(
        &[("r", &["SELECT ON lake.r.*"]), ("q", &["SELECT ON lake.q.*"]), ("public", &["SELECT ON lake.p.*"])],
        &[("ann", &["r"]), ("eve", &["admin"])],
    );
    for (user, seen) in
        [("ann", "r p"), ("bob", "p"), ("anonymous", "p"), ("root", "r q p x"), ("eve", "r q p x"), ("admin", "p")]
    {
        let access = access(&settings, user).await;
        let found: Vec<&str> = ["r", "q", "p", "x"].into_iter().filter(|s| access.sees_schema("lake", s)).collect();
        assert_eq!(found.join(" "), seen, "{user}");
    }
    let token = Session::new("default", "bob", None, None).with_roles(vec!["q".to_owned()]);
    let access = AccessControl::new(&settings).unwrap().of(&token).await.unwrap();
    assert!(access.sees_schema("lake", "q") && !access.sees_schema("lake", "r"));
    assert!(access.may_see_queries_of("bob") && !access.may_see_queries_of("ann"));
}

#[tokio::test]
async fn what_is_seen_and_not_allowed_is_refused_with_the_grant_that_would_help() {
    let access = access(&settings(&[("r", &["SELECT ON lake.s.*"])], &[("ann", &["r"])]), "ann").await;
    let error = access.require(Privilege::Insert, Object::Table(&table("lake/s/T"))).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::PermissionDenied(_)), "{text}");
    assert!(text.contains("user ann lacks INSERT on table lake.s.T"), "{text}");
    assert!(text.contains("GRANT INSERT ON lake.s.\"T\" TO ROLE"), "{text}");
    assert!(access.require_admin("x").is_err());
}

#[tokio::test]
async fn without_the_section_everything_is_allowed_and_with_it_nothing() {
    let free = access(&Settings::default(), "ann").await;
    assert!(free.is_everything() && free.sees_table(&table("lake/s/t")));
    let off = AccessSettings { enabled: false, ..AccessSettings::default() };
    assert!(access(&Settings { access: Some(off), ..Settings::default() }, "ann").await.is_everything());
    let empty = access(&Settings { access: Some(AccessSettings::default()), ..Settings::default() }, "ann").await;
    assert!(!empty.sees_catalog("lake") && !empty.is_everything());
}

#[test]
fn grants_that_cannot_be_are_refused_with_their_setting() {
    for (grant, words) in [
        ("SELECT ON orders", "catalog.schema.table"),
        ("SELECT ON SCHEMA s", "catalog.schema.*"),
        ("CREATE ON lake.s.t", "not on a table"),
        ("SELEKT ON lake.s.t", "a privilege"),
        ("SELECT lake.s.t", "ON"),
        ("SELECT ON lake.s.t TO ROLE x", "end of statement"),
    ] {
        let error = AccessControl::new(&settings(&[("r", &[grant])], &[])).unwrap_err().to_string();
        assert!(error.contains("setting access.roles.r.grants") && error.contains(words), "{grant}: {error}");
    }
    let error = AccessControl::new(&settings(&[], &[("ann", &["ghost"])])).unwrap_err().to_string();
    assert!(error.contains("access.users.ann.roles") && error.contains("ghost"), "{error}");
}
