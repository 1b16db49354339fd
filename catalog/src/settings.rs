//! What an operator writes under `[catalog.NAME]`.
//!
//! In: any serde source (TOML, environment). Out: [`CatalogSettings`], whose property values are all text, as Iceberg's
//! are. Keys that are neither known nor dotted are errors, so that a typing mistake is never silently ignored. No secret
//! is ever printed.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

/// Which protocol a catalog speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CatalogType {
    /// Iceberg's REST protocol.
    Rest,
    /// `iceberg_tables` in SQLite or PostgreSQL, as PyIceberg and Java's JdbcCatalog write it.
    Sql,
    /// Names in this process's memory; gone when it ends.
    Memory,
}

impl fmt::Display for CatalogType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rest => "rest",
            Self::Sql => "sql",
            Self::Memory => "memory",
        })
    }
}

/// How to reach one catalog, and the stores behind it. Uses PyIceberg's property names.
#[derive(Clone, PartialEq)]
pub struct CatalogSettings {
    /// The protocol.
    pub r#type: CatalogType,
    /// `rest`: the service's base address. `sql`: `sqlite:///absolute/path.db`, `sqlite::memory:` or `postgresql://…`.
    pub uri: Option<String>,
    /// Where new tables go (`sql`, `memory`), or which warehouse of the service (`rest`).
    pub warehouse: Option<String>,
    /// `sql`: the `catalog_name` column; the key under `[catalog]` if none.
    pub name: Option<String>,
    /// `rest`: `client:secret` for OAuth2 client credentials.
    pub credential: Option<String>,
    /// `rest`: a bearer token.
    pub token: Option<String>,
    /// `rest`: the OAuth2 scope; `catalog` if none.
    pub scope: Option<String>,
    /// `rest`: the OAuth2 token endpoint; `{uri}/v1/oauth/tokens` if none.
    pub oauth2_server_uri: Option<String>,
    /// `rest`: the path prefix after `v1`; the service's configuration says it if none.
    pub prefix: Option<String>,
    /// Everything else, by its dotted name: `s3.*`, `gcs.*`, `adls.*`, `client.region`, `header.*`, `rest.client.*`.
    pub properties: HashMap<String, String>,
}

/// The keys without a dot.
const KEYS: [&str; 9] =
    ["type", "uri", "warehouse", "name", "credential", "token", "scope", "oauth2-server-uri", "prefix"];
/// Properties without a dot that are passed on as they are.
const PLAIN_PROPERTIES: [&str; 5] =
    ["audience", "resource", "namespace-separator", "rest-page-size", "init-timeout-ms"];

impl CatalogSettings {
    /// Settings of this type with nothing else set.
    pub fn new(r#type: CatalogType) -> Self {
        Self {
            r#type,
            uri: None,
            warehouse: None,
            name: None,
            credential: None,
            token: None,
            scope: None,
            oauth2_server_uri: None,
            prefix: None,
            properties: HashMap::new(),
        }
    }

    /// The same, reached at this address.
    pub fn with_uri(mut self, uri: impl Into<String>) -> Self {
        self.uri = Some(uri.into());
        self
    }

    /// The same, with this warehouse.
    pub fn with_warehouse(mut self, warehouse: impl Into<String>) -> Self {
        self.warehouse = Some(warehouse.into());
        self
    }

    /// The same, with this OAuth2 credential.
    pub fn with_credential(mut self, credential: impl Into<String>) -> Self {
        self.credential = Some(credential.into());
        self
    }

    /// The same, with one more property.
    pub fn with_property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(key.into(), value.into());
        self
    }

    /// Every setting by the name users type, secrets included: what the REST client merges with the service's own.
    pub(crate) fn to_properties(&self) -> HashMap<String, String> {
        let mut all = self.properties.clone();
        let named = [
            ("uri", &self.uri),
            ("warehouse", &self.warehouse),
            ("credential", &self.credential),
            ("token", &self.token),
            ("scope", &self.scope),
            ("oauth2-server-uri", &self.oauth2_server_uri),
            ("prefix", &self.prefix),
        ];
        for (key, value) in named {
            if let Some(value) = value {
                all.insert(key.to_owned(), value.clone());
            }
        }
        all
    }

    /// The properties that choose and configure stores: the dotted ones and the warehouse.
    pub(crate) fn storage_properties(&self) -> HashMap<String, String> {
        let mut properties = self.properties.clone();
        if let Some(warehouse) = &self.warehouse {
            properties.insert("warehouse".to_owned(), warehouse.clone());
        }
        properties
    }

    fn from_values(mut values: BTreeMap<String, String>) -> Result<Self, String> {
        let mut take = |key: &str| values.remove(key);
        let r#type = match take("type").as_deref() {
            Some("rest") => CatalogType::Rest,
            Some("sql") => CatalogType::Sql,
            Some("memory" | "in-memory") => CatalogType::Memory,
            Some(other) => return Err(format!("type \"{other}\" is unknown: it is rest, sql or memory")),
            None => return Err("type is missing: it is rest, sql or memory".to_owned()),
        };
        let settings = Self {
            r#type,
            uri: take("uri"),
            warehouse: take("warehouse"),
            name: take("name"),
            credential: take("credential"),
            token: take("token"),
            scope: take("scope"),
            oauth2_server_uri: take("oauth2-server-uri"),
            prefix: take("prefix"),
            properties: HashMap::new(),
        };
        if let Some(key) = values.keys().find(|key| !key.contains('.') && !PLAIN_PROPERTIES.contains(&key.as_str())) {
            return Err(unknown_key(key));
        }
        Ok(Self { properties: values.into_iter().collect(), ..settings })
    }
}

/// Names a key that is not one of ours, and the key that was probably meant.
fn unknown_key(key: &str) -> String {
    let plain = key.to_lowercase().replace('_', "-");
    let aliases = [("url", "uri"), ("endpoint", "s3.endpoint"), ("region", "s3.region"), ("location", "warehouse")];
    let meant = KEYS
        .iter()
        .chain(&PLAIN_PROPERTIES)
        .find(|known| **known == plain)
        .or_else(|| aliases.iter().find(|(alias, _)| *alias == plain).map(|(_, known)| known))
        .or_else(|| KEYS.iter().find(|known| edits(known, &plain) <= 2 && known.len() > 3))
        .or_else(|| KEYS.iter().find(|known| edits(known, &plain) <= 1));
    match meant {
        Some(meant) => format!("unknown key `{key}`: did you mean `{meant}`?"),
        None => format!(
            "unknown key `{key}`: it is one of {}, or a dotted property such as \"s3.endpoint\"",
            KEYS.join(", ")
        ),
    }
}

/// How many letters to add, drop or change to get from one word to another.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let change = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

impl<'de> Deserialize<'de> for CatalogSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Values(values) = Values::deserialize(deserializer)?;
        Self::from_values(values).map_err(D::Error::custom)
    }
}

/// Text by dotted key: nested tables are joined with dots, booleans and numbers become text.
struct Values(BTreeMap<String, String>);

/// One value of a TOML-like source.
enum Value {
    Text(String),
    Table(BTreeMap<String, Value>),
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tree = BTreeMap::<String, Value>::deserialize(deserializer)?;
        let mut flat = BTreeMap::new();
        flatten("", tree, &mut flat);
        Ok(Self(flat))
    }
}

fn flatten(prefix: &str, tree: BTreeMap<String, Value>, flat: &mut BTreeMap<String, String>) {
    for (key, value) in tree {
        let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match value {
            Value::Text(text) => {
                flat.insert(key, text);
            }
            Value::Table(tree) => flatten(&key, tree, flat),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyScalar;
        impl<'de> Visitor<'de> for AnyScalar {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a boolean, a number, or a table of those")
            }
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Value, E> {
                Ok(Value::Text(v.to_owned()))
            }
            fn visit_bool<E: serde::de::Error>(self, v: bool) -> Result<Value, E> {
                Ok(Value::Text(v.to_string()))
            }
            fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<Value, E> {
                Ok(Value::Text(v.to_string()))
            }
            fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<Value, E> {
                Ok(Value::Text(v.to_string()))
            }
            fn visit_i128<E: serde::de::Error>(self, v: i128) -> Result<Value, E> {
                Ok(Value::Text(v.to_string()))
            }
            fn visit_u128<E: serde::de::Error>(self, v: u128) -> Result<Value, E> {
                Ok(Value::Text(v.to_string()))
            }
            fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Value, E> {
                Ok(Value::Text(v.to_string()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut tree = BTreeMap::new();
                while let Some((key, value)) = map.next_entry()? {
                    tree.insert(key, value);
                }
                Ok(Value::Table(tree))
            }
        }
        deserializer.deserialize_any(AnyScalar)
    }
}

impl fmt::Debug for CatalogSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: BTreeMap<_, _> = self.properties.iter().map(|(k, v)| (k, shown(k, v))).collect();
        f.debug_struct("CatalogSettings")
            .field("type", &self.r#type)
            .field("uri", &self.uri.as_deref().map(without_password))
            .field("warehouse", &self.warehouse.as_deref().map(without_password))
            .field("name", &self.name)
            .field("credential", &self.credential.as_ref().map(|_| HIDDEN))
            .field("token", &self.token.as_ref().map(|_| HIDDEN))
            .field("scope", &self.scope)
            .field("oauth2-server-uri", &self.oauth2_server_uri.as_deref().map(without_password))
            .field("prefix", &self.prefix)
            .field("properties", &properties)
            .finish()
    }
}

/// What is printed instead of a secret.
pub(crate) const HIDDEN: &str = "***";

/// A property's value as it may be printed.
fn shown<'a>(key: &str, value: &'a str) -> std::borrow::Cow<'a, str> {
    if is_secret(key) { HIDDEN.into() } else { without_password(value).into() }
}

/// Whether a property's value must never be printed. Errs on the side of hiding.
pub(crate) fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    let parts =
        ["secret", "token", "password", "passwd", "credential", "account-key", "sas", "private-key", "service-account"];
    key.starts_with("header.") || parts.iter().any(|part| key.contains(part))
}

/// An address with the password of its `user:password@` part, and any `password=` parameter, hidden.
pub(crate) fn without_password(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    // A password may itself hold `/` or `@` unencoded, so everything from the first `:` to the last `@` is hidden.
    let rest = match rest.rfind('@').and_then(|at| Some((rest[..at].split_once(':')?.0, &rest[at..]))) {
        Some((user, after)) => format!("{user}:{HIDDEN}{after}"),
        None => rest.to_owned(),
    };
    let Some((before, query)) = rest.split_once('?') else { return format!("{scheme}://{rest}") };
    let query: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((key, _)) if is_secret(key) => format!("{key}={HIDDEN}"),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{scheme}://{before}?{}", query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: serde_json::Value) -> Result<CatalogSettings, String> {
        serde_json::from_value(json).map_err(|e| e.to_string())
    }

    #[test]
    fn property_values_may_be_text_booleans_or_numbers() {
        let settings = parse(serde_json::json!({
            "type": "rest", "uri": "http://127.0.0.1:8181", "oauth2-server-uri": "http://auth",
            "s3.path-style-access": true, "s3.connect-timeout": 5, "s3": {"region": "eu-west-1"},
        }))
        .unwrap();
        assert_eq!(settings.r#type, CatalogType::Rest);
        assert_eq!(settings.oauth2_server_uri.as_deref(), Some("http://auth"));
        assert_eq!(settings.properties["s3.path-style-access"], "true");
        assert_eq!(settings.properties["s3.connect-timeout"], "5");
        assert_eq!(settings.properties["s3.region"], "eu-west-1");
    }

    #[test]
    fn unknown_keys_are_errors_with_a_hint() {
        let error = |key: &str| parse(serde_json::json!({"type": "sql", key: "x"})).unwrap_err();
        assert!(error("url").contains("did you mean `uri`"));
        assert!(error("warehose").contains("did you mean `warehouse`"));
        assert!(error("oauth2_server_uri").contains("did you mean `oauth2-server-uri`"));
        assert!(error("endpoint").contains("did you mean `s3.endpoint`"));
        assert!(error("colour").contains("unknown key `colour`"));
        assert!(parse(serde_json::json!({"uri": "x"})).unwrap_err().contains("type is missing"));
        assert!(parse(serde_json::json!({"type": "hive"})).unwrap_err().contains("type \"hive\" is unknown"));
    }

    #[test]
    fn debug_shows_no_secret() {
        let settings = parse(serde_json::json!({
            "type": "sql", "uri": "postgresql://ann:hun/t@er2@db:5432/lake?sslmode=require&password=hunter2",
            "credential": "id:hunter2", "token": "hunter2", "s3.secret-access-key": "hunter2", "s3.session-token": "hunter2",
            "header.authorization": "hunter2", "adls.account-key": "hunter2", "gcs.oauth2.token": "hunter2",
            "s3.access-key-id": "shown", "s3.proxy-uri": "http://ann:hunter2@proxy",
        }))
        .unwrap();
        let debug = format!("{settings:?}");
        assert!(!debug.contains("hunter2") && !debug.contains("hun/t") && !debug.contains("er2@"), "{debug}");
        assert!(debug.contains("postgresql://ann:***@db:5432/lake?sslmode=require&password=***"), "{debug}");
        assert!(debug.contains("shown"));
    }

    #[test]
    fn addresses_without_a_password_are_shown_as_they_are() {
        for uri in
            ["sqlite:///a/b.db", "http://127.0.0.1:8181/x:y", "postgresql://ann@db/lake", "s3://bucket/a@b", "plain"]
        {
            assert_eq!(without_password(uri), uri);
        }
    }
}
