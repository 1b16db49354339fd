//! Errors and panics of the decoder name the file that they are about.
//!
//! Crates that decode Parquet panic at some damaged bytes: that is the file's fault, and an error. What DataFusion's opener
//! gives also has expressions in it, whose panics are no fault of the file: which of the two panicked is found out by decoding
//! the file without them ([`Suspect`]).

use std::fmt::{self, Debug, Formatter};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner};
use futures::StreamExt;
use futures::stream::BoxStream;

use super::suspect::Suspect;
use crate::Error;
use crate::panics::{self, Panicked};

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

/// A file at which a decoder panicked; the log has the panic under this id.
pub(super) fn broke_off(panicked: Panicked, location: &str) -> DataFusionError {
    let reason =
        format!("decoding it broke off; the log of the process that read it says why, under id {}", panicked.id);
    Error::DamagedFile { location: location.to_owned(), reason }.into()
}

/// Runs a step of decoding a file.
pub(super) async fn decoding<T>(location: &str, step: impl Future<Output = Result<T>>) -> Result<T> {
    match panics::guarded(DECODER, step).await {
        Ok(done) => done.map_err(|error| name_file(error, location)),
        Err(panicked) => Err(broke_off(panicked, location)),
    }
}

/// What panicked, for the log.
const DECODER: &str = "the decoder of a data file";

/// A step of DataFusion's opener, for one file.
pub(super) struct Named<T: ?Sized> {
    file: Arc<Suspect>,
    inner: Box<T>,
}

impl<T: ?Sized> Named<T> {
    pub(super) fn new(inner: Box<T>, file: &Arc<Suspect>) -> Box<Self> {
        Box::new(Self { file: Arc::clone(file), inner })
    }
}

impl<T: ?Sized> Debug for Named<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named").field("location", &self.file.location()).finish_non_exhaustive()
    }
}

impl MorselPlanner for Named<dyn MorselPlanner> {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Self { file, inner } = *self;
        let location = file.location();
        let planned = std::panic::catch_unwind(AssertUnwindSafe(|| inner.plan()))
            .map_err(|panic| file.told(broke_off(panics::logged(DECODER, panic.as_ref()), location)))?;
        let planned = planned.map_err(|error| file.told(name_file(error, location)));
        let Some(mut plan) = planned? else { return Ok(None) };
        let morsels = plan.take_morsels().into_iter().map(|morsel| Named::new(morsel, &file) as Box<dyn Morsel>);
        let planners = plan.take_ready_planners().into_iter();
        let planners = planners.map(|planner| Named::new(planner, &file) as Box<dyn MorselPlanner>);
        let mut named = MorselPlan::new().with_morsels(morsels.collect()).with_planners(planners.collect());
        if let Some(pending) = plan.take_pending_planner() {
            named.set_pending_planner(async move {
                let planner = decoding(file.location(), pending).await.map_err(|error| file.told(error))?;
                Ok(Named::new(planner, &file) as Box<dyn MorselPlanner>)
            });
        }
        Ok(Some(named))
    }
}

impl Morsel for Named<dyn Morsel> {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        let Self { file, inner } = *self;
        let given = Arc::new(AtomicUsize::new(0));
        let batches = {
            let (file, given) = (Arc::clone(&file), Arc::clone(&given));
            AssertUnwindSafe(inner.into_stream()).catch_unwind().then(move |batch| {
                let (file, given) = (Arc::clone(&file), Arc::clone(&given));
                async move {
                    match batch {
                        Ok(batch) => batch
                            .inspect(|batch| {
                                given.fetch_add(batch.num_rows(), Relaxed);
                            })
                            .map_err(|error| file.told(name_file(error, file.location()))),
                        Err(panic) => {
                            let id = panics::logged("the scan of a data file", panic.as_ref());
                            Err(if file.is_damaged().await {
                                file.told(broke_off(id, file.location()))
                            } else {
                                panics::broken_off(id).into()
                            })
                        }
                    }
                }
            })
        };
        // After an error nobody asks.
        let end = futures::stream::once(async move {
            let wrong = file.wrong_rows(given.load(Relaxed)).await;
            wrong.map(|error| file.told(error))
        });
        batches.chain(end.filter_map(|wrong| async move { wrong.map(Err) })).boxed()
    }
}
