//! The Iceberg properties that configure stores, and which of them are secrets.

use std::collections::HashMap;
use std::fmt;

use crate::{Error, Result};

/// Parts of property names whose values are never shown.
const SECRET_WORDS: [&str; 9] = [
    "secret",
    "token",
    "password",
    "credential",
    "access-key",
    "account-key",
    "account.key",
    "sas",
    "connection-string",
];

/// Properties by name. `Debug` hides the values that are secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Properties(HashMap<String, String>);

impl Properties {
    pub(super) fn new(properties: HashMap<String, String>) -> Self {
        Self(properties)
    }

    pub(super) fn with(&self, overrides: &HashMap<String, String>) -> Self {
        let mut merged = self.0.clone();
        merged.extend(overrides.iter().map(|(key, value)| (key.clone(), value.clone())));
        Self(merged)
    }

    pub(super) fn all(&self) -> HashMap<String, String> {
        self.0.clone()
    }

    /// The first of `names` that is set to something.
    pub(super) fn get(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.0.get(*name)).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn flag(&self, names: &[&str]) -> Result<Option<bool>> {
        let Some(name) = names.iter().find(|name| self.0.contains_key(**name)) else { return Ok(None) };
        match self.0[*name].to_ascii_lowercase().as_str() {
            "true" | "t" | "1" | "on" | "yes" => Ok(Some(true)),
            "false" | "f" | "0" | "off" | "no" | "" => Ok(Some(false)),
            other => Err(Error::Settings {
                setting: (*name).to_string(),
                message: format!("{other:?} is neither true nor false"),
            }),
        }
    }

    pub(super) fn seconds(&self, name: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(&[name]) else { return Ok(None) };
        match value.parse::<f64>() {
            Ok(seconds) if seconds > 0.0 && seconds.is_finite() => Ok(Some(seconds)),
            _ => Err(Error::Settings {
                setting: name.to_string(),
                message: format!("{value:?} is not a positive number of seconds"),
            }),
        }
    }

    pub(super) fn starting_with<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())))
    }

    /// The values that must never be shown, longest first so that no part of one is left behind.
    pub(super) fn secrets(&self) -> Vec<String> {
        let secret = self.0.iter().filter(|(key, value)| is_secret(key) && value.len() >= 4);
        let mut values: Vec<String> = secret.map(|(_, value)| value.clone()).collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word)) && !key.contains("expires-at")
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut entries: Vec<_> = self.0.iter().collect();
        entries.sort();
        let shown = entries.into_iter().map(|(key, value)| (key, if is_secret(key) { "***" } else { value.as_str() }));
        f.debug_map().entries(shown).finish()
    }
}
