//! Credentials that workers are given with an attempt's scans, and cannot renew.
//!
//! Catalogs vend credentials for a table's files, for a limited time. They are renewed before an attempt begins, if it is
//! time to; that workers are refused later than their end is known to come of that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::common::DataFusionError;
use datafusion::physical_plan::ExecutionPlan;

use crate::scan::iceberg_scan;
use crate::{Error, Result};

/// By how much the store's clock may be ahead of ours.
const SKEW: Duration = Duration::from_secs(10);
/// How `polynya_catalog::Error` says that a store answered by an error. Nothing else of it comes from a worker; an expired
/// token is either, by store.
const REFUSALS: [&str; 2] = [" refused access (", " is unavailable ("];

/// When the credentials end, by table, as far as they do.
#[derive(Debug, Default)]
pub(super) struct Lent(BTreeMap<String, Instant>);

impl Lent {
    /// Renews the credentials of the tables that a plan reads.
    ///
    /// # Errors
    /// If the catalog gives no new ones, and the old ones have ended.
    pub(super) async fn renewed(plan: &Arc<dyn ExecutionPlan>) -> Result<Self> {
        let mut ends = BTreeMap::new();
        let mut plans = vec![plan];
        while let Some(plan) = plans.pop() {
            plans.extend(plan.children());
            let Some((_, source)) = iceberg_scan(plan) else { continue };
            let left = source.scan().readers.storage().renew().await?;
            if let Some(end) = left.and_then(|left| Instant::now().checked_add(left)) {
                ends.insert(source.scan().mapping.table().to_owned(), end);
            }
        }
        Ok(Self(ends))
    }

    /// What to say of a failure, if credentials have ended and workers were refused for it.
    pub(super) fn ended(&self, failure: &DataFusionError) -> Option<Error> {
        let now = Instant::now() + SKEW;
        let ended: Vec<&str> = self.0.iter().filter(|(_, end)| **end <= now).map(|(table, _)| table.as_str()).collect();
        let text = failure.to_string();
        let is_refusal = REFUSALS.iter().any(|refusal| text.contains(refusal));
        (is_refusal && !ended.is_empty()).then(|| Error::CredentialsEnded {
            tables: ended.join(" and of "),
            message: failure.find_root().message().into_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_after_the_end_of_credentials_names_their_table() {
        let refused = DataFusionError::External("S3 bucket b refused access (read s3://b/f): check them".into());
        let refused = DataFusionError::Context("while joining".to_owned(), Box::new(refused));
        let other = DataFusionError::Execution("division by zero".to_owned());
        let lent = |ends: &[(&str, u64)]| {
            let ends = ends
                .iter()
                .map(|(table, seconds)| ((*table).to_owned(), Instant::now() + Duration::from_secs(*seconds)));
            Lent(ends.collect())
        };
        let some = lent(&[("lake.s.orders", 0), ("lake.s.lasting", 3600)]);
        let error = some.ended(&refused).unwrap().to_string();
        assert!(error.contains("the credentials of lake.s.orders ended") && error.contains("s3://b/f"), "{error}");
        assert!(!error.contains("lasting") && error.ends_with("Run the query again"), "{error}");
        assert!(some.ended(&other).is_none());
        for lasting in [lent(&[("lake.s.lasting", 3600)]), lent(&[])] {
            assert!(lasting.ended(&refused).is_none(), "a right is missing: no new credentials would help");
        }
        let unavailable = DataFusionError::External("S3 bucket b is unavailable (read s3://b/f)".into());
        let both = lent(&[("a", 0), ("b", 1)]).ended(&unavailable).unwrap().to_string();
        assert!(both.contains("credentials of a and of b ended"), "{both}");
    }
}
