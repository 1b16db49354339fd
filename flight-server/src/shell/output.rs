//! How rows are written: a table, CSV, JSON lines, or a Markdown table.
//!
//! Rows are written as they come. Only the table looks ahead, over a bounded number of rows, to find its widths.

mod json_floats;

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use comfy_table::{CellAlignment, Table, presets};

use self::json_floats::JsonFloats;
use super::ShellError;

/// How rows look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// A table with lines, for people.
    Table,
    /// Comma-separated values with a header; NULL is empty.
    Csv,
    /// One JSON object per line; "NaN", "Infinity" and "-Infinity" are texts, since JSON has no such numbers.
    Json,
    /// A Markdown table.
    Markdown,
}

/// How many rows of a table are aligned together.
const TABLE_ROWS: usize = 10_000;

/// Writes one result.
pub(crate) struct Writer<W: Write> {
    mode: Mode,
    schema: SchemaRef,
    out: W,
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
    begun: bool,
}

impl<W: Write> Writer<W> {
    /// A result with these columns and no rows yet.
    pub(crate) fn new(mode: Mode, schema: SchemaRef, out: W) -> Self {
        Self { mode, schema, out, waiting: Vec::new(), waiting_rows: 0, begun: false }
    }

    /// Adds rows.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), ShellError> {
        match self.mode {
            Mode::Table => {
                self.waiting_rows += batch.num_rows();
                self.waiting.push(batch.clone());
                if self.waiting_rows >= TABLE_ROWS {
                    self.write_table()?;
                }
                Ok(())
            }
            Mode::Csv => self.write_csv(batch),
            Mode::Json => self.write_json(batch),
            Mode::Markdown => self.write_markdown(batch),
        }
    }

    /// Ends the result; one without rows still shows its columns.
    pub(crate) fn finish(&mut self) -> Result<(), ShellError> {
        if !self.begun || !self.waiting.is_empty() {
            let empty = RecordBatch::new_empty(self.schema.clone());
            match self.mode {
                Mode::Table => self.write_table()?,
                Mode::Csv => self.write_csv(&empty)?,
                Mode::Markdown => self.write_markdown(&empty)?,
                Mode::Json => {}
            }
        }
        Ok(self.out.flush()?)
    }

    fn names(&self) -> Vec<&str> {
        self.schema.fields().iter().map(|field| field.name().as_str()).collect()
    }

    fn write_table(&mut self) -> Result<(), ShellError> {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED).set_header(self.names());
        for batch in std::mem::take(&mut self.waiting) {
            each_row(&batch, "NULL", |row| {
                table.add_row(row.iter());
                Ok(())
            })?;
        }
        for (column, field) in table.column_iter_mut().zip(self.schema.fields()) {
            if is_numeric(field.data_type()) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self.waiting_rows = 0;
        self.begun = true;
        Ok(writeln!(self.out, "{table}")?)
    }

    fn write_csv(&mut self, batch: &RecordBatch) -> Result<(), ShellError> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        if !std::mem::replace(&mut self.begun, true) {
            csv.write_record(self.names()).map_err(std::io::Error::from)?;
        }
        each_row(batch, "", |row| Ok(csv.write_record(row).map_err(std::io::Error::from)?))?;
        let text = csv.into_inner().map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(self.out.write_all(&text)?)
    }

    fn write_json(&mut self, batch: &RecordBatch) -> Result<(), ShellError> {
        self.begun = true;
        let mut text = Vec::new();
        let builder = WriterBuilder::new().with_explicit_nulls(true).with_encoder_factory(Arc::new(JsonFloats));
        let mut json = builder.build::<_, LineDelimited>(&mut text);
        json.write(batch)?;
        json.finish()?;
        drop(json);
        Ok(self.out.write_all(&text)?)
    }

    fn write_markdown(&mut self, batch: &RecordBatch) -> Result<(), ShellError> {
        let mut text = String::new();
        if !std::mem::replace(&mut self.begun, true) {
            let names: Vec<String> = self.names().into_iter().map(escape_markdown).collect();
            let rules: Vec<&str> = self
                .schema
                .fields()
                .iter()
                .map(|field| if is_numeric(field.data_type()) { "---:" } else { "---" })
                .collect();
            text.push_str(&format!("| {} |\n| {} |\n", names.join(" | "), rules.join(" | ")));
        }
        each_row(batch, "", |row| {
            let row: Vec<String> = row.iter().map(|value| escape_markdown(value)).collect();
            text.push_str(&format!("| {} |\n", row.join(" | ")));
            Ok(())
        })?;
        Ok(self.out.write_all(text.as_bytes())?)
    }
}

/// Gives each row as text to `take`.
fn each_row(
    batch: &RecordBatch,
    null: &str,
    mut take: impl FnMut(&[String]) -> Result<(), ShellError>,
) -> Result<(), ShellError> {
    let options = FormatOptions::default().with_display_error(true).with_null(null);
    let columns: Vec<ArrayFormatter<'_>> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref() as &dyn Array, &options))
        .collect::<Result<_, ArrowError>>()?;
    let mut row = Vec::with_capacity(columns.len());
    for index in 0..batch.num_rows() {
        row.clear();
        row.extend(columns.iter().map(|column| column.value(index).to_string()));
        take(&row)?;
    }
    Ok(())
}

fn escape_markdown(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('\n', "<br>")
}

fn is_numeric(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Float32Array, Float64Array, Int64Array, ListArray, StringArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Field;

    use super::*;

    fn batch() -> RecordBatch {
        let n: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let s: ArrayRef = Arc::new(StringArray::from(vec!["a|b", "say \"hi\", you"]));
        RecordBatch::try_from_iter([("n", n), ("s", s)]).unwrap()
    }

    fn written(mode: Mode, batches: &[RecordBatch]) -> String {
        let mut out = Vec::new();
        let mut writer = Writer::new(mode, batch().schema(), &mut out);
        for batch in batches {
            writer.write(batch).unwrap();
        }
        writer.finish().unwrap();
        drop(writer);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_quotes_what_needs_it_and_writes_one_header() {
        let text = written(Mode::Csv, &[batch(), batch()]);
        assert_eq!(text, "n,s\n1,a|b\n,\"say \"\"hi\"\", you\"\n1,a|b\n,\"say \"\"hi\"\", you\"\n");
        assert_eq!(written(Mode::Csv, &[]), "n,s\n");
    }

    #[test]
    fn json_is_one_object_per_line_with_nulls() {
        let text = written(Mode::Json, &[batch()]);
        assert_eq!(text, "{\"n\":1,\"s\":\"a|b\"}\n{\"n\":null,\"s\":\"say \\\"hi\\\", you\"}\n");
        assert_eq!(written(Mode::Json, &[]), "");
    }

    #[test]
    fn json_has_texts_for_what_is_no_number() {
        let f: ArrayRef = Arc::new(Float64Array::from(vec![
            Some(f64::NAN),
            Some(f64::INFINITY),
            Some(-f64::INFINITY),
            Some(-0.25),
            None,
        ]));
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let floats: ArrayRef = Arc::new(Float32Array::from(vec![f32::NAN, 1e30, 0.1, 7.0, -f32::INFINITY]));
        let l: ArrayRef = Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([1; 5]), floats, None));
        let batch = RecordBatch::try_from_iter([("f", f), ("l", l)]).unwrap();
        let mut out = Vec::new();
        let mut writer = Writer::new(Mode::Json, batch.schema(), &mut out);
        writer.write(&batch).unwrap();
        drop(writer);
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                r#"{"f":"NaN","l":["NaN"]}"#,
                r#"{"f":"Infinity","l":[1.0e30]}"#,
                r#"{"f":"-Infinity","l":[0.1]}"#,
                r#"{"f":-0.25,"l":[7.0]}"#,
                r#"{"f":null,"l":["-Infinity"]}"#,
            ]
        );
    }

    #[test]
    fn markdown_escapes_bars() {
        assert_eq!(
            written(Mode::Markdown, &[batch()]),
            "| n | s |\n| ---: | --- |\n| 1 | a\\|b |\n|  | say \"hi\", you |\n"
        );
    }

    #[test]
    fn a_table_aligns_numbers_right_and_names_nulls() {
        let text = written(Mode::Table, &[batch()]);
        assert!(text.contains("│    1 ┆"), "{text}");
        assert!(text.contains("│ NULL ┆"), "{text}");
        assert!(written(Mode::Table, &[]).contains("│ n ┆ s │"));
    }
}
