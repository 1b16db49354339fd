//! One line about each statement for those who must tell later who did what (docs/security.md).
//!
//! It has the user, the kind of statement, the tables and the outcome. It never has the statement's text, nor values of
//! it, nor the words of an error: those may hold secrets.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use datafusion::sql::sqlparser::ast::ObjectName;
use parking_lot::Mutex;

use crate::ddl::table_reference;
use crate::query::QueryContext;
use crate::statement::{Show, Statement};
use crate::{Engine, Session};

/// Names that one line has.
const NAMES_MAX: usize = 100;

/// What is known of a statement so far.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    user: OnceLock<String>,
    kind: OnceLock<&'static str>,
    names: Mutex<BTreeSet<String>>,
}

impl Audit {
    /// Whose statement it is.
    pub(crate) fn is_of(&self, user: &str) {
        // A second word changes nothing.
        let _ = self.user.set(user.to_owned());
    }

    /// What kind of statement it is.
    pub(crate) fn is_a(&self, kind: &'static str) {
        // A second word changes nothing.
        let _ = self.kind.set(kind);
    }

    /// A table or schema that it names.
    pub(crate) fn names(&self, name: impl ToString) {
        let mut names = self.names.lock();
        if names.len() < NAMES_MAX {
            names.insert(name.to_string());
        }
    }

    /// The tables and schemas that a definition or an INSERT names; those of queries are known when they are pinned.
    pub(crate) fn names_of(&self, statement: &Statement, engine: &Engine, session: &Session) {
        for table in tables(statement) {
            let resolved = table_reference(table).and_then(|reference| engine.resolve_name(&reference, session));
            match resolved {
                Ok(name) => self.names(name),
                Err(_) => self.names(table),
            }
        }
        if let Statement::CreateSchema(create) = statement {
            self.names(&create.schema);
        }
        if let Statement::DropSchema { schema, .. } = statement {
            self.names(schema);
        }
    }

    /// Writes the line.
    pub(crate) fn ended(&self, query: &QueryContext, outcome: &'static str) {
        let names: Vec<String> = self.names.lock().iter().cloned().collect();
        tracing::info!(
            target: "polynya::audit",
            user = self.user.get().map_or("unknown", String::as_str),
            tenant = query.tenant(),
            query_id = query.id(),
            kind = self.kind.get().copied().unwrap_or("UNKNOWN"),
            tables = names.join(", "),
            outcome,
            "audit: a statement ended"
        );
    }
}

/// The tables that a statement changes or shows.
fn tables(statement: &Statement) -> Vec<&ObjectName> {
    match statement {
        Statement::Insert(insert) => vec![&insert.table],
        Statement::CreateTable(create) => vec![&create.table],
        Statement::DropTable { table, .. } | Statement::Describe { table } => vec![table],
        Statement::Show(Show::Columns { table } | Show::CreateTable { table }) => vec![table],
        Statement::RenameTable { from, to, .. } => vec![from, to],
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::parse;

    fn named(sql: &str) -> Vec<String> {
        tables(&parse(sql).unwrap()).into_iter().map(ToString::to_string).collect()
    }

    #[test]
    fn definitions_and_inserts_name_their_tables() {
        assert_eq!(named("INSERT INTO s.t VALUES (1)"), ["s.t"]);
        assert_eq!(named("CREATE TABLE t (a INT)"), ["t"]);
        assert_eq!(named("DROP TABLE IF EXISTS t"), ["t"]);
        assert_eq!(named("ALTER TABLE s.a RENAME TO s.b"), ["s.a", "s.b"]);
        assert_eq!(named("DESCRIBE t"), ["t"]);
        assert!(named("SET datafusion.execution.batch_size = 10").is_empty());
    }

    #[test]
    fn names_are_bounded_and_the_first_word_counts() {
        let audit = Audit::default();
        for number in 0..200 {
            audit.names(format!("t{number}"));
        }
        audit.is_of("ann");
        audit.is_of("eve");
        assert_eq!(audit.names.lock().len(), NAMES_MAX);
        assert_eq!(audit.user.get().map(String::as_str), Some("ann"));
    }
}
