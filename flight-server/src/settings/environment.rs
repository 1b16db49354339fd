//! Settings from the environment.
//!
//! `POLYNYA__SERVER__LISTEN` is `server.listen`: double underscores part the levels. Below a catalog's name the rest is
//! an Iceberg property, so there, as in PyIceberg, double underscores become dots and single ones dashes:
//! `POLYNYA__CATALOG__LAKE__S3__SECRET_ACCESS_KEY` is `"s3.secret-access-key"` of `[catalog.lake]`.

use std::ffi::OsString;

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};

const PREFIX: &str = "POLYNYA__";

/// The variables that are settings. Has no `Debug`: there are secrets among them.
#[derive(Clone, Default)]
pub(super) struct Environment {
    settings: Dict,
}

impl Environment {
    /// Picks the settings out of all variables.
    pub(super) fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut settings = Dict::new();
        for (name, value) in variables {
            let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) else { continue };
            let Some(path) = name.strip_prefix(PREFIX) else { continue };
            let levels: Vec<String> = path.split("__").map(str::to_lowercase).collect();
            match levels.as_slice() {
                [section, catalog, property @ ..] if section == "catalog" && !property.is_empty() => {
                    let key = property.join(".").replace('_', "-");
                    insert(&mut settings, &[section.clone(), catalog.clone(), key], Value::from(value));
                }
                levels => insert(&mut settings, levels, scalar(&value)),
            }
        }
        Self { settings }
    }
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named("the environment").interpolater(|_, keys| {
            format!("{PREFIX}{}", keys.join("__").to_uppercase().replace('.', "__").replace('-', "_"))
        })
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Map::from([(Profile::Default, self.settings.clone())]))
    }
}

fn insert(settings: &mut Dict, path: &[String], value: Value) {
    let [key, rest @ ..] = path else { return };
    if rest.is_empty() {
        settings.insert(key.clone(), value);
        return;
    }
    let inner = settings.entry(key.clone()).or_insert_with(|| Value::from(Dict::new()));
    if !matches!(inner, Value::Dict(..)) {
        *inner = Value::from(Dict::new());
    }
    if let Value::Dict(_, inner) = inner {
        insert(inner, rest, value);
    }
}

/// Switches and whole numbers are recognised; everything else is text, also digits that a number would not have, such as 007.
fn scalar(text: &str) -> Value {
    match (text.parse::<bool>(), text.parse::<i64>()) {
        (Ok(switch), _) => Value::from(switch),
        (_, Ok(number)) if number.to_string() == text => Value::from(number),
        _ => Value::from(text),
    }
}
