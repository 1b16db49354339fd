//! GRANT, REVOKE, CREATE ROLE, DROP ROLE, SHOW GRANTS, SHOW ROLES.
//!
//! `GRANT SELECT, INSERT ON lake.sales.* TO ROLE analyst`, `GRANT ROLE analyst TO USER ann, "bob@example.org"`. Names are
//! lower-cased unless quoted. What it is on: `*`, `catalog.*`, `catalog.schema.*`, `[[catalog.]schema.]table`, or in words
//! `CATALOG c`, `SCHEMA c.s`, `ALL TABLES IN SCHEMA c.s`, `TABLE t`.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{Statement, consume_word, parse_part, peek_word, syntax};
use crate::access::Privilege;
use crate::{Error, Result};

/// A statement about who may do what.
#[derive(Debug, Clone)]
pub enum AccessStatement {
    /// GRANT privileges ON an object TO roles, or REVOKE … FROM.
    Privileges(GivenPrivileges),
    /// GRANT ROLE … TO USER, or REVOKE ROLE … FROM USER.
    Roles {
        /// Whether they are given; else they are taken.
        give: bool,
        /// The roles.
        roles: Vec<String>,
        /// The users.
        users: Vec<String>,
    },
    /// CREATE ROLE.
    CreateRole {
        /// The role.
        role: String,
        /// Not an error if it is there already.
        if_not_exists: bool,
    },
    /// DROP ROLE.
    DropRole {
        /// The role.
        role: String,
        /// Not an error if there is none.
        if_exists: bool,
    },
    /// SHOW GRANTS.
    ShowGrants(GrantsOf),
    /// SHOW ROLES.
    ShowRoles,
}

/// Privileges on an object, given to roles or taken from them.
#[derive(Debug, Clone)]
pub struct GivenPrivileges {
    /// Whether they are given; else they are taken.
    pub(crate) give: bool,
    pub(crate) privileges: Vec<Privilege>,
    pub(crate) object: GrantObject,
    pub(crate) roles: Vec<String>,
}

/// Whose grants are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantsOf {
    /// One's own.
    Caller,
    /// A role's.
    Role(String),
    /// A user's, through roles.
    User(String),
}

/// What a grant is on, as it was written: a schema has up to two parts, a table up to three.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GrantObject {
    Everything,
    Catalog(String),
    Schema(Vec<String>),
    Table(Vec<String>),
}

impl AccessStatement {
    /// What it is, in the words that it begins with.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Privileges(GivenPrivileges { give: true, .. }) | Self::Roles { give: true, .. } => "GRANT",
            Self::Privileges(_) | Self::Roles { .. } => "REVOKE",
            Self::CreateRole { .. } => "CREATE ROLE",
            Self::DropRole { .. } => "DROP ROLE",
            Self::ShowGrants(_) | Self::ShowRoles => "SHOW",
        }
    }
}

/// The privileges and the object of a grant in the settings: `SELECT, INSERT ON lake.sales.*`.
///
/// # Errors
/// If it is no such text.
pub(crate) fn parse_grant(text: &str) -> Result<(Vec<Privilege>, GrantObject)> {
    parse_part(text, |parser| {
        let privileges = privileges(parser)?;
        parser.expect_keyword(Keyword::ON).map_err(syntax)?;
        Ok((privileges, object(parser)?))
    })
}

/// GRANT or REVOKE.
pub(super) fn parse(parser: &mut Parser<'_>) -> Result<Statement> {
    let give = parser.parse_keyword(Keyword::GRANT);
    if !give {
        parser.expect_keyword(Keyword::REVOKE).map_err(syntax)?;
    }
    let verb = if give { "GRANT" } else { "REVOKE" };
    let direction = if give { Keyword::TO } else { Keyword::FROM };
    if consume_word(parser, "ROLE") {
        let roles = names(parser)?;
        parser.expect_keyword(direction).map_err(syntax)?;
        if !consume_word(parser, "USER") {
            let advice = "roles are given to users: write TO USER, or FROM USER, before the name";
            return Err(Error::unsupported(format!("{verb} ROLE to what is no user"), advice));
        }
        let users = several(parser, "USER")?;
        return Ok(Statement::Access(AccessStatement::Roles { give, roles, users }));
    }
    let privileges = privileges(parser)?;
    parser.expect_keyword(Keyword::ON).map_err(syntax)?;
    let object = object(parser)?;
    parser.expect_keyword(direction).map_err(syntax)?;
    if !consume_word(parser, "ROLE") {
        let advice = "privileges are given to roles, and roles to users: write TO ROLE, or FROM ROLE, before the name";
        return Err(Error::unsupported(format!("{verb} of privileges to what is no role"), advice));
    }
    let roles = several(parser, "ROLE")?;
    if peek_word(parser, "WITH") {
        return Err(Error::unsupported(format!("{verb} WITH GRANT OPTION"), "only admins give grants"));
    }
    Ok(Statement::Access(AccessStatement::Privileges(GivenPrivileges { give, privileges, object, roles })))
}

/// CREATE ROLE or DROP ROLE.
pub(super) fn parse_role(parser: &mut Parser<'_>) -> Result<Statement> {
    let create = parser.parse_keyword(Keyword::CREATE);
    if !create {
        parser.expect_keyword(Keyword::DROP).map_err(syntax)?;
    }
    // ROLE: the caller has looked.
    parser.advance_token();
    Ok(Statement::Access(if create {
        let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
        AccessStatement::CreateRole { role: name(parser)?, if_not_exists }
    } else {
        let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
        AccessStatement::DropRole { role: name(parser)?, if_exists }
    }))
}

/// SHOW GRANTS [FOR ROLE r | FOR USER u] or SHOW ROLES.
pub(super) fn parse_show(parser: &mut Parser<'_>) -> Result<Statement> {
    parser.expect_keyword(Keyword::SHOW).map_err(syntax)?;
    if consume_word(parser, "ROLES") {
        return Ok(Statement::Access(AccessStatement::ShowRoles));
    }
    parser.advance_token();
    let of = if !consume_word(parser, "FOR") && !consume_word(parser, "TO") {
        GrantsOf::Caller
    } else if consume_word(parser, "ROLE") {
        GrantsOf::Role(name(parser)?)
    } else if consume_word(parser, "USER") {
        GrantsOf::User(name(parser)?)
    } else {
        let next = parser.peek_token();
        return parser.expected("ROLE or USER", next).map_err(syntax);
    };
    Ok(Statement::Access(AccessStatement::ShowGrants(of)))
}

/// `SELECT, INSERT`, `ALL`, `ALL PRIVILEGES`.
fn privileges(parser: &mut Parser<'_>) -> Result<Vec<Privilege>> {
    if consume_word(parser, "ALL") {
        consume_word(parser, "PRIVILEGES");
        return Ok(Privilege::ALL.to_vec());
    }
    let mut found = Vec::new();
    loop {
        let next = parser.next_token();
        let privilege = match &next.token {
            Token::Word(word) if word.quote_style.is_none() => Privilege::of_word(&word.value),
            _ => None,
        };
        match privilege {
            Some(privilege) if !found.contains(&privilege) => found.push(privilege),
            Some(_) => {}
            None => {
                let words = "a privilege: SELECT, INSERT, CREATE, DROP, ALTER or ALL";
                return parser.expected(words, next).map_err(syntax);
            }
        }
        if !parser.consume_token(&Token::Comma) {
            found.sort();
            return Ok(found);
        }
    }
}

/// What a grant is on.
fn object(parser: &mut Parser<'_>) -> Result<GrantObject> {
    let second_is_name = matches!(&parser.peek_nth_token_ref(1).token, Token::Word(_));
    if peek_word(parser, "ALL") && second_is_name {
        for word in ["ALL", "TABLES", "IN", "SCHEMA"] {
            if !consume_word(parser, word) {
                let next = parser.peek_token();
                return parser.expected("ALL TABLES IN SCHEMA and its name", next).map_err(syntax);
            }
        }
        return schema(parser);
    }
    // A word before another word says what it is; a word before a dot, or alone, is a name.
    if second_is_name && consume_word(parser, "SCHEMA") {
        return schema(parser);
    }
    if second_is_name && consume_word(parser, "CATALOG") {
        return Ok(GrantObject::Catalog(name(parser)?));
    }
    if second_is_name {
        consume_word(parser, "TABLE");
    }
    let (parts, all) = dotted(parser)?;
    match (parts.len(), all) {
        (0, true) => Ok(GrantObject::Everything),
        (1, true) => parts.into_iter().next().map(GrantObject::Catalog).ok_or_else(|| no_object("")),
        (2, true) => Ok(GrantObject::Schema(parts)),
        (1..=3, false) => Ok(GrantObject::Table(parts)),
        _ => Err(no_object(&parts.join("."))),
    }
}

/// `catalog.schema`, `schema`, or either with `.*` after it.
fn schema(parser: &mut Parser<'_>) -> Result<GrantObject> {
    match dotted(parser)? {
        (parts, _) if (1..=2).contains(&parts.len()) => Ok(GrantObject::Schema(parts)),
        (parts, _) => Err(no_object(&parts.join("."))),
    }
}

fn no_object(name: &str) -> Error {
    Error::Invalid(format!(
        "{name} is nothing to grant privileges on: write *, catalog.*, catalog.schema.* or catalog.schema.table, and a nested \
         schema as \"a.b\""
    ))
}

/// Names with dots between them, and whether a star ends them.
fn dotted(parser: &mut Parser<'_>) -> Result<(Vec<String>, bool)> {
    let mut parts = Vec::new();
    loop {
        if parser.consume_token(&Token::Mul) {
            return Ok((parts, true));
        }
        parts.push(name(parser)?);
        if !parser.consume_token(&Token::Period) {
            return Ok((parts, false));
        }
    }
}

/// Names after the word that says what they are, which may be repeated before each: `a, b` or `a, ROLE b`.
fn several(parser: &mut Parser<'_>, word: &str) -> Result<Vec<String>> {
    let mut found = vec![name(parser)?];
    while parser.consume_token(&Token::Comma) {
        let second_is_name = matches!(&parser.peek_nth_token_ref(1).token, Token::Word(_));
        if second_is_name {
            consume_word(parser, word);
        }
        found.push(name(parser)?);
    }
    Ok(found)
}

fn names(parser: &mut Parser<'_>) -> Result<Vec<String>> {
    let mut found = vec![name(parser)?];
    while parser.consume_token(&Token::Comma) {
        found.push(name(parser)?);
    }
    Ok(found)
}

/// A name: lower-cased unless quoted. Users' names may stand in single quotes as well.
fn name(parser: &mut Parser<'_>) -> Result<String> {
    let ident = parser.parse_identifier().map_err(syntax)?;
    let name = if ident.quote_style.is_some() { ident.value } else { ident.value.to_lowercase() };
    match name.is_empty() {
        true => Err(Error::Invalid("a name is empty".to_owned())),
        false => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::parse;

    fn given(sql: &str) -> GivenPrivileges {
        match parse(sql).expect(sql) {
            Statement::Access(AccessStatement::Privileges(given)) => given,
            other => panic!("{sql} is {other:?}"),
        }
    }

    fn strings<const N: usize>(parts: [&str; N]) -> Vec<String> {
        parts.map(str::to_owned).to_vec()
    }

    #[test]
    fn objects_are_written_with_stars_or_in_words() {
        for (text, expected) in [
            ("*", GrantObject::Everything),
            ("lake.*", GrantObject::Catalog("lake".into())),
            ("CATALOG lake", GrantObject::Catalog("lake".into())),
            ("lake.Sales.*", GrantObject::Schema(strings(["lake", "sales"]))),
            ("SCHEMA sales", GrantObject::Schema(strings(["sales"]))),
            ("ALL TABLES IN SCHEMA lake.\"a.b\"", GrantObject::Schema(strings(["lake", "a.b"]))),
            ("lake.sales.orders", GrantObject::Table(strings(["lake", "sales", "orders"]))),
            ("TABLE \"Orders\"", GrantObject::Table(strings(["Orders"]))),
        ] {
            let sql = format!("GRANT SELECT ON {text} TO ROLE r");
            assert_eq!(given(&sql).object, expected, "{sql}");
            assert_eq!(parse_grant(&format!("SELECT ON {text}")).expect(text).1, expected, "{text}");
        }
    }

    #[test]
    fn privileges_and_roles_are_lists() {
        let grant = given("GRANT insert, SELECT, SELECT ON s.t TO ROLE a, ROLE \"B\", c;");
        assert_eq!(grant.privileges, [Privilege::Select, Privilege::Insert]);
        assert_eq!(grant.roles, ["a", "B", "c"]);
        assert!(grant.give && !given("REVOKE ALL PRIVILEGES ON t FROM ROLE a").give);
        assert_eq!(given("GRANT ALL ON t TO ROLE a").privileges, Privilege::ALL);
        let Ok(Statement::Access(AccessStatement::Roles { give, roles, users })) =
            parse("GRANT ROLE a, b TO USER Ann, 'bob@example.org'")
        else {
            panic!("roles")
        };
        assert_eq!((give, roles, users), (true, strings(["a", "b"]), strings(["ann", "bob@example.org"])));
    }

    #[test]
    fn roles_and_shows_are_statements() {
        use AccessStatement as A;
        assert!(matches!(parse("CREATE ROLE IF NOT EXISTS a"),
            Ok(Statement::Access(A::CreateRole { role, if_not_exists: true })) if role == "a"));
        assert!(matches!(parse("DROP ROLE a"),
            Ok(Statement::Access(A::DropRole { role, if_exists: false })) if role == "a"));
        assert!(matches!(parse("SHOW ROLES"), Ok(Statement::Access(A::ShowRoles))));
        assert!(matches!(parse("SHOW GRANTS"), Ok(Statement::Access(A::ShowGrants(GrantsOf::Caller)))));
        for (sql, expected) in [
            ("SHOW GRANTS FOR ROLE a", GrantsOf::Role("a".into())),
            ("SHOW GRANTS FOR USER \"A\"", GrantsOf::User("A".into())),
        ] {
            assert!(matches!(parse(sql), Ok(Statement::Access(A::ShowGrants(of))) if of == expected), "{sql}");
        }
    }

    #[test]
    fn what_is_not_there_is_refused_with_advice() {
        for (sql, words) in [
            ("GRANT SELECT ON t TO u", "TO ROLE"),
            ("GRANT SELECT ON t TO USER u", "roles to users"),
            ("GRANT ROLE a TO b", "TO USER"),
            ("GRANT UPDATE ON t TO ROLE a", "a privilege"),
            ("GRANT SELECT ON a.b.c.d TO ROLE a", "a.b.c.d"),
            ("GRANT SELECT ON t TO ROLE a WITH GRANT OPTION", "only admins"),
            ("SHOW GRANTS ON t", "end of statement"),
            ("SHOW GRANTS FOR t", "ROLE or USER"),
            ("GRANT SELECT TO ROLE a", "ON"),
        ] {
            let message = parse(sql).expect_err(sql).to_string();
            assert!(message.contains(words), "{sql}: {message}");
        }
    }
}
