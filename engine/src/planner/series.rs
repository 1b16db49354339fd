//! `generate_series()` and `range()` in FROM, of timestamps with microseconds.
//!
//! In: two timestamps or dates, and an interval. Out: the timestamps from one to the other, in microseconds, each that interval after the
//! one before, as in PostgreSQL. DataFusion's take and give nanoseconds, and refuse others: what nanoseconds have no room for is refused
//! here, too. Numbers are DataFusion's. DataFusion 55.2.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::catalog::view::ViewTable;
use datafusion::catalog::{TableFunction, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result, ScalarValue, not_impl_err, plan_datafusion_err, plan_err};
use datafusion::datasource::provider_as_source;
use datafusion::functions_table::all_default_table_functions;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast, col, lit};

use crate::options::zone_of;

const DAY_NANOSECONDS: i64 = 86_400_000_000_000;

/// One of the functions.
#[derive(Debug)]
pub(super) struct Series {
    inner: Arc<TableFunction>,
}

impl Series {
    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Arc<TableFunction>> {
        all_default_table_functions().into_iter().map(|inner| {
            let name = inner.name().to_owned();
            Arc::new(TableFunction::new(name, Arc::new(Self { inner })))
        })
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    /// A timestamp or date as DataFusion's function takes it.
    fn bound(&self, value: &ScalarValue, has_zone: bool) -> Result<Expr> {
        let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, has_zone.then(|| "+00:00".into()));
        let moment = match value {
            ScalarValue::Date32(Some(days)) => {
                let moment = i64::from(*days).checked_mul(DAY_NANOSECONDS);
                moment.and_then(|moment| ScalarValue::from(moment).cast_to(&nanoseconds).ok())
            }
            value if is_moment(value) || value.is_null() || value.data_type().is_string() => {
                value.cast_to(&nanoseconds).ok()
            }
            value => return plan_err!("{}() of {}, which is no timestamp", self.name(), value.data_type()),
        };
        moment.map(lit).ok_or_else(|| {
            plan_datafusion_err!(
                "{}() counts nanoseconds, and {value} is no timestamp of the years 1677 to 2262",
                self.name()
            )
        })
    }

    /// A step as DataFusion's function takes it, which looks at the sign of each part.
    fn step(&self, value: &ScalarValue) -> Result<Expr> {
        if value.is_null() {
            return Ok(lit(ScalarValue::Null));
        }
        let step = value.cast_to(&DataType::Interval(IntervalUnit::MonthDayNano))?;
        if let ScalarValue::IntervalMonthDayNano(Some(interval)) = &step {
            let signs = [i64::from(interval.months), interval.days.into(), interval.nanoseconds].map(i64::signum);
            if signs.contains(&1) && signs.contains(&-1) {
                return not_impl_err!("{}() of an interval whose parts have different signs", self.name());
            }
        }
        Ok(lit(step))
    }
}

fn is_moment(value: &ScalarValue) -> bool {
    matches!(value.data_type(), DataType::Timestamp(..) | DataType::Date32)
}

impl TableFunctionImpl for Series {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let values = args.exprs().iter().map(|expr| match expr {
            Expr::Literal(value, _) => Some(value),
            _ => None,
        });
        let values: Option<[&ScalarValue; 3]> =
            values.collect::<Option<Vec<_>>>().and_then(|values| values.try_into().ok());
        let Some([start, end, step]) = values else {
            return self.inner.create_table_provider_with_args(args);
        };
        let bounds = [start, end];
        if !bounds.into_iter().any(is_moment) {
            return self.inner.create_table_provider_with_args(args);
        }
        let zones = bounds.into_iter().filter_map(|value| match value.data_type() {
            DataType::Timestamp(_, zone) => Some(zone),
            _ => None,
        });
        let zones: Vec<_> = zones.collect();
        let zone = match zones.as_slice() {
            [one, other] if one.is_some() != other.is_some() => {
                return plan_err!(
                    "{}() of a timestamp with a time zone and one without; cast one of them",
                    self.name()
                );
            }
            [zone, ..] => zone.clone(),
            [] => None,
        };
        if zone.is_some() && !zone_of(args.session().config_options()).is_utc() {
            return not_impl_err!(
                "{}() of timestamps with a time zone, in a session whose zone is not UTC; use timestamps without one, and AT \
                 TIME ZONE for each",
                self.name()
            );
        }
        let has_zone = zone.is_some();
        let exprs = [self.bound(start, has_zone)?, self.bound(end, has_zone)?, self.step(step)?];
        let series = self.inner.create_table_provider_with_args(TableFunctionArgs::new(&exprs, args.session()))?;
        let moment = cast(col("value"), DataType::Timestamp(TimeUnit::Microsecond, zone)).alias("value");
        let plan =
            LogicalPlanBuilder::scan(self.name(), provider_as_source(series), None)?.project([moment])?.build()?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}
