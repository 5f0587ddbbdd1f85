//! Medians and the verdict, as markdown and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use super::Asked;
use super::rows::{ROWS, Row};
use crate::engine::Result;
use crate::report::{amount, median, quoted};

/// All that was measured: of each size, row and store the value of every run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    series: BTreeMap<(u64, &'static str, String), Vec<f64>>,
    failures: Vec<String>,
}

impl Report {
    pub(crate) fn add(&mut self, items: u64, row: &'static str, store: &str, value: f64) {
        self.series
            .entry((items, row, store.to_owned()))
            .or_default()
            .push(value);
    }

    /// The last value of a series times `by`.
    pub(crate) fn scale(&mut self, items: u64, row: &'static str, store: &str, by: f64) {
        let series = self.series.entry((items, row, store.to_owned())).or_default();
        series.last_mut().map(|value| *value *= by).unwrap_or_default();
    }

    pub(crate) fn fail(&mut self, items: u64, store: &str, why: &str) {
        self.failures.push(format!("{items} items, {store}: {why}"));
    }

    pub(crate) fn write(&self, asked: &Asked) -> Result<()> {
        if let Some(path) = &asked.json {
            fs::write(path, self.to_json())?;
        }
        if let Some(path) = &asked.markdown {
            fs::write(path, self.to_markdown(&asked.stores))?;
        }
        Ok(())
    }

    fn sizes(&self) -> Vec<u64> {
        let mut sizes: Vec<u64> = self.series.keys().map(|(items, ..)| *items).collect();
        sizes.dedup();
        sizes
    }

    fn value(&self, items: u64, row: &Row, store: &str) -> Option<f64> {
        median(self.series.get(&(items, row.id, store.to_owned()))?.clone())
    }

    pub(crate) fn to_markdown(&self, stores: &[String]) -> String {
        let mut out = String::new();
        for items in self.sizes() {
            let _ = writeln!(
                out,
                "{items} items, medians; times are CPU time of the process unless the row says otherwise\n"
            );
            let _ = writeln!(out, "| row | {} | target | |", stores.join(" | "));
            let _ = writeln!(out, "|{}", " --- |".repeat(stores.len() + 3));
            for row in ROWS {
                self.row_to_markdown(items, row, stores, &mut out);
            }
            out.push('\n');
        }
        for failure in &self.failures {
            let _ = writeln!(out, "Failed: {failure}");
        }
        out
    }

    fn row_to_markdown(&self, items: u64, row: &Row, stores: &[String], out: &mut String) {
        let values: Vec<Option<f64>> = stores.iter().map(|store| self.value(items, row, store)).collect();
        if values.iter().all(Option::is_none) {
            return;
        }
        let _ = write!(out, "| {} |", row.label);
        for value in values {
            let cell = value.map_or("–".to_owned(), |value| in_unit(value, row.unit));
            let _ = write!(out, " {cell} |");
        }
        let verdict = match (row.target, self.value(items, row, "weald")) {
            (Some(target), Some(value)) if value <= target => "met",
            (Some(_), Some(_)) => "**missed**",
            _ => "",
        };
        let target = row
            .target
            .map_or(String::new(), |target| format!("≤ {}", in_unit(target, row.unit)));
        let _ = writeln!(out, " {target} | {verdict} |");
    }

    fn to_json(&self) -> String {
        let lines = self.series.iter().map(|((items, row, store), values)| {
            let values: Vec<String> = values.iter().map(f64::to_string).collect();
            format!(
                "  {{\"items\": {items}, \"row\": {}, \"store\": {}, \"values\": [{}]}}",
                quoted(row),
                quoted(store),
                values.join(", ")
            )
        });
        format!("[\n{}\n]\n", lines.collect::<Vec<_>>().join(",\n"))
    }
}

fn in_unit(value: f64, unit: &str) -> String {
    format!("{} {unit}", amount(value)).trim_end().to_owned()
}
