//! The words of a grant: a privilege, and what it is on.

use std::fmt;

use crate::TableName;
use crate::types::quoted;

/// What a role may be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Privilege {
    /// Reading a table.
    Select,
    /// Adding rows to a table.
    Insert,
    /// Creating tables in a schema, or schemas in a catalog.
    Create,
    /// Dropping a table, or a schema.
    Drop,
    /// Renaming a table.
    Alter,
}

impl Privilege {
    pub(crate) const ALL: [Self; 5] = [Self::Select, Self::Insert, Self::Create, Self::Drop, Self::Alter];

    /// The word in GRANT, in settings and in the control database.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Create => "CREATE",
            Self::Drop => "DROP",
            Self::Alter => "ALTER",
        }
    }

    /// The privilege of a word, in any case.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|privilege| privilege.word().eq_ignore_ascii_case(word))
    }

    /// Whether it says something about tables that are there, so that they are seen.
    pub(crate) fn is_on_tables(self) -> bool {
        self != Self::Create
    }
}

impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a grant is on. Names are as the catalog has them; what is created later is covered, too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// `*`
    Everything,
    /// `catalog.*`
    Catalog(String),
    /// `catalog.schema.*`: this schema, not those nested in it.
    Schema(String, String),
    /// `catalog.schema.table`
    Table(TableName),
}

/// What somebody wants to do something to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Object<'a> {
    Catalog(&'a str),
    Schema(&'a str, &'a str),
    Table(&'a TableName),
}

impl Scope {
    /// Whether a grant on this is a grant on the object.
    pub(crate) fn covers(&self, object: Object<'_>) -> bool {
        match (self, object) {
            (Self::Everything, _) => true,
            (Self::Catalog(own), Object::Catalog(catalog) | Object::Schema(catalog, _)) => own == catalog,
            (Self::Catalog(own), Object::Table(table)) => *own == table.catalog,
            (Self::Schema(own, own_schema), Object::Schema(catalog, schema)) => own == catalog && own_schema == schema,
            (Self::Schema(own, own_schema), Object::Table(table)) => {
                *own == table.catalog && *own_schema == table.schema
            }
            (Self::Table(own), Object::Table(table)) => own == table,
            (Self::Schema(..), Object::Catalog(_)) | (Self::Table(_), Object::Catalog(_) | Object::Schema(..)) => false,
        }
    }

    /// Whether it covers the catalog, or is on something in it.
    pub(crate) fn touches_catalog(&self, catalog: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Catalog(own) | Self::Schema(own, _) => own == catalog,
            Self::Table(own) => own.catalog == catalog,
        }
    }

    /// Whether it covers the schema, or is on something in it or in a schema nested in it.
    pub(crate) fn touches_schema(&self, catalog: &str, schema: &str) -> bool {
        let is_or_is_in =
            |own: &str| own.strip_prefix(schema).is_some_and(|below| below.is_empty() || below.starts_with('.'));
        match self {
            Self::Everything => true,
            Self::Catalog(own) => own == catalog,
            Self::Schema(own, own_schema) => own == catalog && is_or_is_in(own_schema),
            Self::Table(own) => own.catalog == catalog && is_or_is_in(&own.schema),
        }
    }
}

/// As GRANT writes it.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("*"),
            Self::Catalog(catalog) => write!(f, "{}.*", quoted(catalog)),
            Self::Schema(catalog, schema) => write!(f, "{}.{}.*", quoted(catalog), quoted(schema)),
            Self::Table(TableName { catalog, schema, table }) => {
                write!(f, "{}.{}.{}", quoted(catalog), quoted(schema), quoted(table))
            }
        }
    }
}

impl Object<'_> {
    /// The smallest scope that covers it.
    pub(crate) fn scope(self) -> Scope {
        match self {
            Self::Catalog(catalog) => Scope::Catalog(catalog.to_owned()),
            Self::Schema(catalog, schema) => Scope::Schema(catalog.to_owned(), schema.to_owned()),
            Self::Table(table) => Scope::Table(table.clone()),
        }
    }
}

/// As messages name it.
impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Catalog(catalog) => write!(f, "catalog {catalog}"),
            Self::Schema(catalog, schema) => write!(f, "schema {catalog}.{schema}"),
            Self::Table(table) => write!(f, "table {table}"),
        }
    }
}

/// One privilege on one thing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Grant {
    pub(crate) privilege: Privilege,
    pub(crate) scope: Scope,
}
