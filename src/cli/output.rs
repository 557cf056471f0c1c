//! stdout: data alone, in docker's forms. A table, a template a row, or JSON, one object a line.

use std::io::{self, BufWriter, StdoutLock, Write};

use serde_json::{Map, Value};

use crate::cli::template::Template;

/// Locked, buffered stdout. Call [`finish`](Output::finish): what is buffered when it is dropped may be lost unheard.
pub struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    pub fn new() -> Self {
        Self(BufWriter::with_capacity(1 << 16, io::stdout().lock()))
    }

    pub fn finish(mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// One line to stdout.
pub fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// What `--format` asks for.
#[derive(Debug)]
pub enum Format {
    Table,
    TableOf(Template),
    Json,
    Template(Template),
}

impl Format {
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(match text {
            "table" => Self::Table,
            "json" => Self::Json,
            _ => match text.strip_prefix("table ") {
                Some(columns) => Self::TableOf(Template::parse(columns)?),
                None => Self::Template(Template::parse(text)?),
            },
        })
    }

    pub fn of(option: Option<&str>) -> anyhow::Result<Self> {
        option.map_or(Ok(Self::Table), Self::parse)
    }
}

/// A column: the field of the row it shows, and what stands above it.
pub type Column = (&'static str, &'static str);

/// Rows, each a map of its fields; `headings` names every field there can be, `columns` those the table shows.
pub struct Listing<'a> {
    pub columns: &'a [Column],
    pub headings: &'a [Column],
    pub rows: Vec<Map<String, Value>>,
}

impl Listing<'_> {
    pub fn print(&self, format: &Format) -> anyhow::Result<()> {
        let mut out = Output::new();
        match format {
            Format::Table => self.table(&mut out)?,
            Format::TableOf(template) => self.table_of(template, &mut out)?,
            Format::Json => {
                for row in &self.rows {
                    writeln!(out, "{}", serde_json::to_string(row)?)?;
                }
            }
            Format::Template(template) => {
                for row in &self.rows {
                    writeln!(out, "{}", template.render(&Value::Object(row.clone()))?)?;
                }
            }
        }
        Ok(out.finish()?)
    }

    /// The table alone, where several follow one another.
    pub fn table(&self, out: &mut impl Write) -> io::Result<()> {
        let heading = self.columns.iter().map(|(_, heading)| (*heading).to_owned()).collect();
        let cell = |row: &Map<String, Value>, field| row.get(field).map(shown).unwrap_or_default();
        let rows =
            self.rows.iter().map(|row| self.columns.iter().map(|(field, _)| cell(row, *field)).collect());
        write_table(std::iter::once(heading).chain(rows).collect(), out)
    }

    fn table_of(&self, template: &Template, out: &mut impl Write) -> anyhow::Result<()> {
        let headings = self.headings.iter().map(|(field, heading)| ((*field).to_owned(), (*heading).into()));
        let mut lines = vec![template.render(&Value::Object(headings.collect()))?];
        for row in &self.rows {
            lines.push(template.render(&Value::Object(row.clone()))?);
        }
        let cells = |line: String| line.split('\t').map(str::to_owned).collect();
        Ok(write_table(lines.into_iter().map(cells).collect(), out)?)
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// As Go's tabwriter lays docker's tables out: cells at least ten wide, three spaces between, the last one as it is.
pub fn write_table(rows: Vec<Vec<String>>, out: &mut impl Write) -> io::Result<()> {
    const NARROWEST: usize = 10;
    const GAP: usize = 3;
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![NARROWEST; columns];
    for row in &rows {
        let padded = row.len().saturating_sub(1);
        for (width, cell) in widths.iter_mut().zip(row).take(padded) {
            *width = (*width).max(cell.chars().count() + GAP);
        }
    }
    for row in rows {
        let Some((last, padded)) = row.split_last() else { continue };
        for (cell, width) in padded.iter().zip(&widths) {
            write!(out, "{cell:<width$}")?;
        }
        writeln!(out, "{last}")?;
    }
    Ok(())
}

/// An array of objects as docker's `inspect` prints it: four spaces deep.
pub fn pretty(value: &Value) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    serde::Serialize::serialize(value, &mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    Ok(String::from_utf8(bytes)?)
}

/// A name from an image as a terminal may see it: no control characters, no bytes that are not text.
pub fn printable(name: &[u8]) -> String {
    let mut shown = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_control() {
                shown.extend(letter.escape_default());
            } else {
                shown.push(letter);
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[&[&str]]) -> String {
        let rows = rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect();
        let mut out = Vec::new();
        write_table(rows, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_is_laid_out_as_docker_does() {
        let shown = table(&[
            &["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"],
            &["alpine", "3.20", "0123456789ab", "3 weeks ago", "7.8MB"],
        ]);
        assert_eq!(
            shown,
            "REPOSITORY   TAG       IMAGE ID       CREATED       SIZE\n\
             alpine       3.20      0123456789ab   3 weeks ago   7.8MB\n"
        );
    }

    #[test]
    fn the_heading_of_a_table_template_is_the_template_over_the_headings() {
        let row = Map::from_iter([("ID".to_owned(), "abc".into()), ("Tag".to_owned(), "latest".into())]);
        let headings = &[("ID", "IMAGE ID"), ("Tag", "TAG")];
        let listing = Listing { columns: headings, headings, rows: vec![row] };
        let Format::TableOf(template) = Format::parse(r"table {{.ID}}\t{{.Tag}}").unwrap() else { panic!() };
        let mut out = Vec::new();
        listing.table_of(&template, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "IMAGE ID   TAG\nabc        latest\n");
    }

    #[test]
    fn a_name_can_not_steer_the_terminal() {
        assert_eq!(printable(b"a\x1b[31m\n\xffb\xc3\xa9"), "a\\u{1b}[31m\\n\\xffbé");
    }
}
