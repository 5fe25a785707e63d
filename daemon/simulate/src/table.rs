//! Tables of results: for people, as CSV (RFC 4180), and as objects.

use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt::Write;

/// Rows of cells under named columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What is in it, in one line.
    pub title: String,
    /// The names of the columns.
    pub columns: Vec<&'static str>,
    /// The rows; each has a cell for every column.
    pub rows: Vec<Vec<Cell>>,
}

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A word.
    Text(String),
    /// A count.
    Count(u64),
    /// A measurement, with the number of digits that are shown after the point.
    Number(f64, usize),
    /// There is no value.
    None,
}

impl Cell {
    /// The cell as it is shown, without padding.
    pub fn text(&self) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Count(count) => count.to_string(),
            Cell::Number(number, digits) => format!("{number:.digits$}"),
            Cell::None => String::new(),
        }
    }

    fn is_text(&self) -> bool {
        matches!(self, Cell::Text(_))
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Cell::Text(text) => serializer.serialize_str(text),
            Cell::Count(count) => serializer.serialize_u64(*count),
            Cell::Number(number, _) => serializer.serialize_f64(*number),
            Cell::None => serializer.serialize_none(),
        }
    }
}

/// A row as an object: the columns' names and their values.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    columns: &'a [&'static str],
    cells: &'a [Cell],
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len()))?;
        for (column, cell) in self.columns.iter().zip(self.cells) {
            map.serialize_entry(column, cell)?;
        }
        map.end()
    }
}

impl Table {
    /// An empty table.
    pub fn new(title: impl Into<String>, columns: &[&'static str]) -> Table {
        Table {
            title: title.into(),
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// The rows as objects.
    pub fn objects(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|cells| Row {
            columns: &self.columns,
            cells,
        })
    }

    /// The table as CSV, with the names of the columns in the first line.
    pub fn csv(&self) -> String {
        let mut out = self.columns.join(",");
        out.push('\n');
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|cell| quoted(&cell.text())).collect();
            out.push_str(&cells.join(","));
            out.push('\n');
        }
        out
    }

    /// The table in aligned columns, words to the left and numbers to the right, as
    /// Markdown.
    pub fn markdown(&self) -> String {
        let texts: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(Cell::text).collect())
            .collect();
        let columns: Vec<(usize, bool)> = (0..self.columns.len())
            .map(|column| {
                let cells = texts.iter().map(|row| row[column].chars().count());
                let name = self.columns[column].chars().count();
                let words = self.rows.iter().any(|row| row[column].is_text());
                (cells.chain([name, 2]).max().unwrap_or(0), words)
            })
            .collect();
        let mut out = String::new();
        let mut line = |cells: &mut dyn Iterator<Item = &str>| {
            for (cell, (width, left)) in cells.zip(&columns) {
                // Writing to a string does not fail.
                let _ = match left {
                    true => write!(out, "| {cell:<width$} "),
                    false => write!(out, "| {cell:>width$} "),
                };
            }
            out.push_str("|\n");
        };
        line(&mut self.columns.iter().copied());
        let rules: Vec<String> = columns
            .iter()
            .map(|(width, left)| match left {
                true => "-".repeat(*width),
                false => "-".repeat(width - 1) + ":",
            })
            .collect();
        line(&mut rules.iter().map(String::as_str));
        for row in &texts {
            line(&mut row.iter().map(String::as_str));
        }
        out
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("a table", &["name", "n", "mean"]);
        table.rows.push(vec![
            "a, \"b\"".into(),
            Cell::Count(12),
            Cell::Number(1.0 / 3.0, 3),
        ]);
        table
            .rows
            .push(vec!["c".into(), Cell::Count(3), Cell::None]);
        table
    }

    #[test]
    fn csv_quotes_what_would_break_it() {
        let expected = "name,n,mean\n\"a, \"\"b\"\"\",12,0.333\nc,3,\n";
        assert_eq!(table().csv(), expected);
    }

    #[test]
    fn markdown_is_aligned() {
        let expected = "\
| name   |  n |  mean |
| ------ | -: | ----: |
| a, \"b\" | 12 | 0.333 |
| c      |  3 |       |
";
        assert_eq!(table().markdown(), expected);
    }

    #[test]
    fn rows_are_objects_with_full_precision() {
        let table = table();
        let row = serde_json::to_value(table.objects().next()).unwrap();
        assert_eq!(row["name"], "a, \"b\"");
        assert_eq!(row["mean"], 1.0 / 3.0);
    }
}
