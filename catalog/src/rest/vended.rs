//! Credentials that a catalog hands out with a table, for that table's files.
//!
//! In: the `config` and `storage-credentials` of a table's answer. Out: the properties of its stores, and when the
//! credentials among them end. Of several credentials, the one with the longest prefix of the table's location is used.

use std::collections::HashMap;
use std::time::Duration;

use chrono::Utc;

use super::wire::StorageCredential;

/// How long before their end credentials are renewed, at most.
const RENEW_AHEAD_MAX_MS: i64 = 120_000;
/// Properties that say when credentials end, in milliseconds since 1970.
const EXPIRY_KEYS: [&str; 4] = [
    "s3.session-token-expires-at-ms",
    "gcs.oauth2.token-expires-at",
    "adls.sas-token-expires-at-ms",
    "expiration-time",
];
/// The parts of a table's `config` that are about its stores.
const STORE_PREFIXES: [&str; 4] = ["s3.", "gcs.", "adls.", "client."];

/// The properties of one table's stores, as its catalog gave them.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Vended {
    properties: HashMap<String, String>,
    renew_at_ms: Option<i64>,
    ends_at_ms: Option<i64>,
}

impl Vended {
    /// What an answer says about the stores of a table at `location`.
    pub(super) fn new(
        location: &str,
        config: Option<HashMap<String, String>>,
        credentials: Option<&[StorageCredential]>,
    ) -> Self {
        let mut properties = config.unwrap_or_default();
        if let Some(best) = longest_prefix(location, credentials.unwrap_or_default()) {
            properties.extend(best.config.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        let now_ms = Utc::now().timestamp_millis();
        let ends_at_ms = expiry_ms(&properties);
        properties.retain(|key, _| STORE_PREFIXES.iter().any(|prefix| key.starts_with(prefix)));
        let renew_at_ms = ends_at_ms.map(|end| end - ((end - now_ms).max(0) / 5).min(RENEW_AHEAD_MAX_MS));
        Self { properties, renew_at_ms, ends_at_ms }
    }

    /// The properties of the table's stores that differ from the catalog's.
    pub(super) fn properties(&self) -> &HashMap<String, String> {
        &self.properties
    }

    /// Whether there are credentials among the properties.
    pub(super) fn has_credentials(&self) -> bool {
        self.properties.keys().any(|key| is_credential(key))
    }

    /// Whether the other describes the same stores, with the same or other credentials.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let fixed = |vended: &'_ Self| {
            let shape = |(key, value): (&String, &String)| (key.clone(), (!is_credential(key)).then(|| value.clone()));
            let fixed = vended.properties.iter().filter(|(key, _)| !is_expiry(key)).map(shape);
            fixed.collect::<std::collections::BTreeMap<_, _>>()
        };
        fixed(self) == fixed(other)
    }

    /// Whether the credentials have not ended yet.
    pub(super) fn is_valid(&self) -> bool {
        self.ends_at_ms.is_none_or(|end| Utc::now().timestamp_millis() < end)
    }

    /// How long until the credentials end; for ever if they have no end.
    pub(super) fn left(&self) -> Option<Duration> {
        self.ends_at_ms.map(until)
    }

    /// How long the credentials may be used before they should be renewed; for ever if they have no end.
    pub(super) fn lasts(&self) -> Option<Duration> {
        self.renew_at_ms.map(until)
    }
}

fn until(at_ms: i64) -> Duration {
    let left_ms = at_ms.saturating_sub(Utc::now().timestamp_millis());
    Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
}

fn longest_prefix<'a>(location: &str, credentials: &'a [StorageCredential]) -> Option<&'a StorageCredential> {
    let under = |prefix: &str| {
        let rest = location.strip_prefix(prefix);
        // A prefix ends at a folder: credentials of s3://lake/a are not those of s3://lake/ab.
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.is_empty() || prefix.ends_with('/'))
    };
    // A prefix may also be a mere scheme ("s3"), for all locations of that store.
    let applies =
        |prefix: &str| under(prefix) || location.split_once("://").is_some_and(|(scheme, _)| scheme == prefix);
    credentials.iter().filter(|credential| applies(&credential.prefix)).max_by_key(|credential| credential.prefix.len())
}

fn is_expiry(key: &str) -> bool {
    EXPIRY_KEYS.iter().any(|known| key.starts_with(known))
}

fn is_credential(key: &str) -> bool {
    let keys = ["s3.access-key-id", "s3.secret-access-key", "s3.session-token", "gcs.oauth2.token", "adls.sas-token"];
    keys.contains(&key) || (key.starts_with("adls.sas-token.") && !is_expiry(key))
}

/// When the first of the credentials ends.
fn expiry_ms(properties: &HashMap<String, String>) -> Option<i64> {
    let ends = properties.iter().filter(|(key, _)| is_expiry(key));
    ends.filter_map(|(_, value)| value.parse().ok()).min()
}

impl std::fmt::Debug for Vended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vended").field("renew_at_ms", &self.renew_at_ms).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(prefix: &str, key: &str) -> StorageCredential {
        StorageCredential { prefix: prefix.into(), config: HashMap::from([("s3.access-key-id".into(), key.into())]) }
    }

    fn pairs(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_longest_prefix_wins_over_the_config() {
        let config = Some(pairs(&[("s3.access-key-id", "config"), ("s3.region", "r"), ("token", "t")]));
        let credentials = [
            credential("s3://lake/", "short"),
            credential("s3://lake/a/t", "long"),
            credential("s3://lake/a/t2", "other"),
        ];
        let vended = Vended::new("s3://lake/a/t", config.clone(), Some(&credentials));
        assert_eq!(*vended.properties(), pairs(&[("s3.access-key-id", "long"), ("s3.region", "r")]));
        let elsewhere = Vended::new("s3://elsewhere/t", config, Some(&credentials));
        assert_eq!(elsewhere.properties()["s3.access-key-id"], "config");
        let any = Vended::new("s3://elsewhere/t", None, Some(&[credential("s3", "any")]));
        assert_eq!(any.properties()["s3.access-key-id"], "any");
        assert_eq!(any.lasts(), None);
    }

    #[test]
    fn stores_are_the_same_when_only_credentials_differ() {
        let vended = |id: &str, region: &str| {
            let end = "s3.session-token-expires-at-ms";
            Vended::new("s3://b/t", Some(pairs(&[("s3.access-key-id", id), ("s3.region", region), (end, id)])), None)
        };
        assert!(vended("1", "r").is_like(&vended("2", "r")) && vended("1", "r").has_credentials());
        assert!(!vended("1", "r").is_like(&vended("1", "s")));
        assert!(!vended("1", "r").is_like(&Vended::new("s3://b/t", Some(pairs(&[("s3.region", "r")])), None)));
        assert!(!vended("1", "r").is_valid());
    }

    #[test]
    fn credentials_are_renewed_before_they_end() {
        let lasting = |ms: i64| {
            let end = (Utc::now().timestamp_millis() + ms).to_string();
            Vended::new("s3://b/t", Some(pairs(&[("s3.session-token-expires-at-ms", &end)])), None).lasts().unwrap()
        };
        assert!(lasting(3_600_000) <= Duration::from_secs(3_480) && lasting(3_600_000) > Duration::from_secs(3_400));
        assert!(lasting(10_000) <= Duration::from_secs(8) && lasting(10_000) > Duration::from_secs(7));
        assert_eq!(lasting(-1_000), Duration::ZERO);
    }
}
