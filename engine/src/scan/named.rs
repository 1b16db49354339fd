//! Errors of the decoder name the file that they are about.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use crate::Error;

/// The error with the file's name, if it says that the file is not what it should be; any other as it is.
pub(super) fn name_file(error: DataFusionError, location: &str) -> DataFusionError {
    let error = Error::from(error);
    let Error::Query(source) = &error else { return error.into() };
    let reason = match source.find_root() {
        DataFusionError::ParquetError(source) => source.to_string(),
        DataFusionError::ArrowError(source, _) => match source.as_ref() {
            ArrowError::ParquetError(reason) => reason.clone(),
            _ => return error.into(),
        },
        _ => return error.into(),
    };
    Error::DamagedFile { location: location.to_owned(), reason }.into()
}

/// A step of DataFusion's opener, for one file.
pub(super) struct Named<T: ?Sized> {
    location: Arc<str>,
    inner: Box<T>,
}

impl<T: ?Sized> Named<T> {
    pub(super) fn new(inner: Box<T>, location: &Arc<str>) -> Box<Self> {
        Box::new(Self { location: Arc::clone(location), inner })
    }
}

impl<T: ?Sized> Debug for Named<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named").field("location", &self.location).finish_non_exhaustive()
    }
}

impl MorselPlanner for Named<dyn MorselPlanner> {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Self { location, inner } = *self;
        let Some(mut plan) = inner.plan().map_err(|error| name_file(error, &location))? else { return Ok(None) };
        let morsels = plan.take_morsels().into_iter().map(|morsel| Named::new(morsel, &location) as Box<dyn Morsel>);
        let planners = plan.take_ready_planners().into_iter();
        let planners = planners.map(|planner| Named::new(planner, &location) as Box<dyn MorselPlanner>);
        let mut named = MorselPlan::new().with_morsels(morsels.collect()).with_planners(planners.collect());
        if let Some(pending) = plan.take_pending_planner() {
            named.set_pending_planner(async move {
                let planner = pending.await.map_err(|error| name_file(error, &location))?;
                Ok(Named::new(planner, &location) as Box<dyn MorselPlanner>)
            });
        }
        Ok(Some(named))
    }
}

impl Morsel for Named<dyn Morsel> {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        let Self { location, inner } = *self;
        inner.into_stream().map_err(move |error| name_file(error, &location)).boxed()
    }
}
