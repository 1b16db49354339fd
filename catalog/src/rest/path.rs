//! Paths of the REST protocol, with names percent-encoded.

use iceberg::{NamespaceIdent, TableIdent};

use crate::{Error, Result};

/// The unit separator, which joins the levels of a namespace unless the service says otherwise.
const UNIT_SEPARATOR: &str = "\u{1f}";

/// Where a service's resources are.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    base: String,
    separator: String,
}

impl Paths {
    /// `uri` is the service's base address; `prefix` and `separator` (percent-encoded) come from its configuration.
    pub(super) fn new(uri: &str, prefix: Option<&str>, separator: Option<&str>) -> Self {
        let mut base = format!("{}/v1", uri.trim_end_matches('/'));
        if let Some(prefix) = prefix.map(|prefix| prefix.trim_matches('/')).filter(|prefix| !prefix.is_empty()) {
            // A prefix may have several segments, so its slashes stay.
            let segments: Vec<_> = prefix.split('/').map(encode).collect();
            base = format!("{base}/{}", segments.join("/"));
        }
        let separator = separator.map(decode).filter(|separator| !separator.is_empty());
        Self { base, separator: separator.unwrap_or_else(|| UNIT_SEPARATOR.to_owned()) }
    }

    pub(super) fn namespaces(&self) -> String {
        format!("{}/namespaces", self.base)
    }

    pub(super) fn namespace(&self, namespace: &NamespaceIdent) -> Result<String> {
        Ok(format!("{}/{}", self.namespaces(), segment(&self.joined(namespace)?)?))
    }

    pub(super) fn tables(&self, namespace: &NamespaceIdent) -> Result<String> {
        Ok(format!("{}/tables", self.namespace(namespace)?))
    }

    pub(super) fn table(&self, table: &TableIdent) -> Result<String> {
        Ok(format!("{}/{}", self.tables(&table.namespace)?, segment(&table.name)?))
    }

    pub(super) fn register(&self, namespace: &NamespaceIdent) -> Result<String> {
        Ok(format!("{}/register", self.namespace(namespace)?))
    }

    pub(super) fn rename(&self) -> String {
        format!("{}/tables/rename", self.base)
    }

    /// A namespace's levels in one text, for a query parameter or, encoded, a path segment.
    pub(super) fn joined(&self, namespace: &NamespaceIdent) -> Result<String> {
        match namespace.iter().find(|level| level.is_empty() || level.contains(&self.separator)) {
            None => Ok(namespace.join(&self.separator)),
            Some(level) => Err(Error::invalid(format!(
                "schema name \"{level}\" cannot be used in this catalog: its levels are separated by {:?} and are not empty",
                self.separator
            ))),
        }
    }
}

/// A name as one path segment.
fn segment(name: &str) -> Result<String> {
    match name {
        // HTTP clients and proxies resolve these, encoded or not: the request would reach another resource.
        "" | "." | ".." => Err(Error::invalid(format!("\"{name}\" cannot be a name in a REST catalog"))),
        _ => Ok(encode(name)),
    }
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The text that a percent-encoded separator stands for.
fn decode(text: &str) -> String {
    // Form decoding reads `+` as a space, which a separator would not mean.
    let pairs = format!("s={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(pairs.as_bytes()).next().map_or_else(String::new, |(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ident(levels: &[&str]) -> NamespaceIdent {
        NamespaceIdent::from_strs(levels).unwrap()
    }

    #[test]
    fn names_are_encoded_and_levels_joined() {
        let paths = Paths::new("http://h:1/", None, None);
        assert_eq!(paths.namespace(&ident(&["a", "b c"])).unwrap(), "http://h:1/v1/namespaces/a%1Fb%20c");
        let table = TableIdent::new(ident(&["a"]), "größe/x?%".to_owned());
        assert_eq!(paths.table(&table).unwrap(), "http://h:1/v1/namespaces/a/tables/gr%C3%B6%C3%9Fe%2Fx%3F%25");
        assert!(paths.table(&TableIdent::new(ident(&["a"]), "..".to_owned())).is_err());
    }

    #[test]
    fn prefix_and_separator_come_from_the_service() {
        let paths = Paths::new("http://h:1", Some("ws/one two"), Some("%2E"));
        assert_eq!(paths.namespace(&ident(&["a", "b"])).unwrap(), "http://h:1/v1/ws/one%20two/namespaces/a.b");
        assert!(paths.namespace(&ident(&["a.b"])).is_err());
    }
}
