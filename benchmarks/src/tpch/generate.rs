//! Writes the TPC-H tables as files.
//!
//! One Parquet file per table, written under a temporary name in the same folder and renamed when it is whole, so that a file
//! with its final name is complete. A file that already holds the right number of rows of the same scale is kept.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use futures::{Stream, StreamExt, TryStreamExt};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use tokio::sync::mpsc;

use super::TpchTable;
use super::batches::{default_threads, stream_table, warm_up};
use crate::progress::{Progress, grouped, readable_bytes};
use crate::scale::Scale;

/// The key under which a file tells the scale it was made for.
const SCALE_KEY: &str = "polynya-bench.tpch.scale";
/// Batches between the generators and the writer.
const BATCHES_AHEAD: usize = 4;

/// What to write, and where.
#[derive(Debug, Clone)]
pub struct GenerateOptions {
    /// The scale factor.
    pub scale: Scale,
    /// The folder; made if it does not exist.
    pub output: PathBuf,
    /// The tables.
    pub tables: Vec<TpchTable>,
    /// How progress is shown.
    pub progress: Progress,
}

/// A written (or kept) file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedFile {
    /// The table.
    pub table: TpchTable,
    /// The file.
    pub path: PathBuf,
    /// Its rows.
    pub rows: u64,
    /// It was there already.
    pub kept: bool,
}

/// Writes one Parquet file per table into the folder.
pub async fn generate(options: &GenerateOptions) -> Result<Vec<GeneratedFile>> {
    let folder = &options.output;
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let mut files = Vec::new();
    for &table in &options.tables {
        let path = folder.join(format!("{table}.parquet"));
        let file = generate_table(table, options, path.clone()).await;
        files.push(file.with_context(|| format!("cannot write {}", path.display()))?);
    }
    Ok(files)
}

async fn generate_table(table: TpchTable, options: &GenerateOptions, path: PathBuf) -> Result<GeneratedFile> {
    let rows = table.row_count(options.scale);
    if is_complete(&path, options.scale, rows) {
        options.progress.line(&format!("{table}: {} is there already, {} rows", path.display(), grouped(rows)));
        return Ok(GeneratedFile { table, path, rows, kept: true });
    }
    warm_up().await;
    let started = Instant::now();
    let step = options.progress.step(table.name(), rows, "rows");
    let count = step.counter();
    let batches =
        stream_table(table, options.scale, default_threads()).inspect_ok(move |batch| count(batch.num_rows() as u64));
    let written = write_file(table, options.scale, &path, batches).await?;
    anyhow::ensure!(written == rows, "{written} rows were made instead of {rows}");
    let bytes = fs::metadata(&path).map_or(0, |metadata| metadata.len());
    let seconds = started.elapsed().as_secs_f64();
    step.done(&format!("{table}: {} rows, {} in {seconds:.1} s", grouped(rows), readable_bytes(bytes)));
    Ok(GeneratedFile { table, path, rows, kept: false })
}

/// Whether the file was finished by an earlier run for the same scale.
fn is_complete(path: &Path, scale: Scale, rows: u64) -> bool {
    let Some(reader) = File::open(path).ok().and_then(|file| SerializedFileReader::new(file).ok()) else {
        return false;
    };
    let metadata = reader.metadata().file_metadata();
    let stored_scale = metadata
        .key_value_metadata()
        .and_then(|pairs| pairs.iter().find(|pair| pair.key == SCALE_KEY).and_then(|pair| pair.value.as_deref()));
    u64::try_from(metadata.num_rows()) == Ok(rows) && stored_scale == Some(scale.to_string().as_str())
}

/// Encodes on a blocking thread, fed through a short channel.
async fn write_file(
    table: TpchTable,
    scale: Scale,
    path: &Path,
    batches: impl Stream<Item = Result<RecordBatch, ArrowError>>,
) -> Result<u64> {
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    let target = path.to_path_buf();
    let writer = tokio::task::spawn_blocking(move || encode(table, scale, &target, receiver));
    let mut batches = std::pin::pin!(batches);
    while let Some(batch) = batches.next().await {
        // The writer stops at an error; the channel's end alone means that the file is whole.
        if sender.send(batch).await.is_err() {
            break;
        }
    }
    drop(sender);
    writer.await.context("the writer stopped")?
}

fn encode(
    table: TpchTable,
    scale: Scale,
    path: &Path,
    mut batches: mpsc::Receiver<Result<RecordBatch, ArrowError>>,
) -> Result<u64> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let temporary = temporary_file(table, folder)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_key_value_metadata(Some(vec![KeyValue::new(SCALE_KEY.to_string(), scale.to_string())]))
        .build();
    let mut writer = ArrowWriter::try_new(temporary.as_file(), table.schema(), Some(properties))?;
    let mut rows = 0;
    while let Some(batch) = batches.blocking_recv() {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        writer.write(&batch)?;
    }
    writer.close()?;
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    Ok(rows)
}

/// A file that goes away unless it is persisted. Data files are for everyone whom the umask lets read, not only for the owner.
fn temporary_file(table: TpchTable, folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let prefix = format!(".{table}.");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(<fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666));
    builder.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(folder: &Path, factor: f64) -> GenerateOptions {
        GenerateOptions {
            scale: Scale::new(factor).expect("a scale"),
            output: folder.join("tpch"),
            tables: vec![TpchTable::Region, TpchTable::Supplier, TpchTable::Orders],
            progress: Progress::Hidden,
        }
    }

    #[tokio::test]
    async fn files_are_whole_and_kept_by_the_next_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = generate(&options(folder.path(), 0.01)).await.expect("the files are written");
        let rows: Vec<(u64, bool)> = files.iter().map(|file| (file.rows, file.kept)).collect();
        assert_eq!(rows, [(5, false), (100, false), (15_000, false)]);
        let again = generate(&options(folder.path(), 0.01)).await.expect("the files are kept");
        assert!(again.iter().all(|file| file.kept));
        let leftovers = fs::read_dir(folder.path().join("tpch")).expect("the folder").count();
        assert_eq!(leftovers, 3, "temporary files are gone");
    }

    #[tokio::test]
    async fn files_of_another_scale_or_cut_short_are_written_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = generate(&options(folder.path(), 0.01)).await.expect("the files are written");
        let bytes = fs::read(&files[1].path).expect("the file");
        fs::write(&files[1].path, &bytes[..bytes.len() / 2]).expect("the file is cut");
        let again = generate(&options(folder.path(), 0.01)).await.expect("the files are written");
        assert_eq!(again.iter().map(|file| file.kept).collect::<Vec<_>>(), [true, false, true]);
        let larger = generate(&options(folder.path(), 0.02)).await.expect("the files are written");
        assert_eq!(larger.iter().map(|file| file.kept).collect::<Vec<_>>(), [false, false, false]);
    }
}
