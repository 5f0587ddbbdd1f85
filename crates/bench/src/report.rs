//! Medians, ratios and the verdict.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use crate::args::Asked;
use crate::charts;
use crate::engine::Result;
use crate::rows::{self, Row, Target};

const WEALD: &str = "weald";

/// What was measured of one row and engine, run by run.
#[derive(Clone, Debug, Default)]
struct Series {
    values: Vec<(u32, f64)>,
    cpu_us: Vec<f64>,
}

/// Everything that was measured at one size.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    series: BTreeMap<(String, String), Series>,
    failures: Vec<String>,
}

impl Figures {
    pub(crate) fn add(&mut self, row: &str, engine: &str, run: u32, value: f64, cpu_us: Option<f64>) {
        let key = (row.to_owned(), engine.to_owned());
        let series = self.series.entry(key).or_default();
        series.values.push((run, value));
        series.cpu_us.extend(cpu_us);
    }

    pub(crate) fn fail(&mut self, scenario: &str, engine: &str, run: u32, why: &str) {
        self.failures
            .push(format!("{scenario}, {engine}, run {run}: {why}"));
    }

    fn series(&self, row: &Row, engine: &str) -> Option<&Series> {
        self.series.get(&(row.id.to_owned(), engine.to_owned()))
    }

    fn value(&self, row: &Row, engine: &str) -> Option<f64> {
        let series = self.series(row, engine)?;
        median(series.values.iter().map(|(_, value)| *value).collect())
    }

    fn cpu_us(&self, row: &Row, engine: &str) -> Option<f64> {
        median(self.series(row, engine)?.cpu_us.clone())
    }

    /// The peer with the best median.
    fn best<'e>(&self, row: &Row, engines: &'e [String]) -> Option<(&'e str, f64)> {
        let peers = engines.iter().filter(|engine| *engine != WEALD);
        let with_values = peers.filter_map(|peer| Some((peer.as_str(), self.value(row, peer)?)));
        with_values.reduce(|best, peer| {
            let better = (peer.1 > best.1) == row.unit.is_more_better();
            if better { peer } else { best }
        })
    }

    /// Weald's value over that of the best peer: the median of what it was in each run.
    fn ratio(&self, row: &Row, engines: &[String]) -> Option<f64> {
        let (best, _) = self.best(row, engines)?;
        let ours = self.series(row, WEALD)?;
        let theirs = self.series(row, best)?;
        let in_run = |run: u32| theirs.values.iter().find(|(other, _)| *other == run);
        let ratios = ours
            .values
            .iter()
            .filter_map(|(run, value)| Some(value / in_run(*run)?.1));
        median(ratios.collect())
    }

    /// Whether the target is met; `None` where nothing can be said.
    fn is_met(&self, row: &Row, engines: &[String]) -> Option<bool> {
        match row.target {
            Target::None => None,
            Target::AtMost(most) => Some(self.value(row, WEALD)? <= most),
            Target::OfBest(times) if row.unit.is_more_better() => Some(self.ratio(row, engines)? >= times),
            Target::OfBest(times) => Some(self.ratio(row, engines)? <= times),
        }
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.is_empty() {
        None
    } else if values.len() % 2 == 1 {
        Some(values[middle])
    } else {
        Some(f64::midpoint(values[middle - 1], values[middle]))
    }
}

/// All sizes of one comparison.
#[derive(Debug)]
pub(crate) struct Report {
    engines: Vec<String>,
    rows: Vec<&'static str>,
    runs: u32,
    sizes: Vec<(u64, Figures)>,
}

impl Report {
    pub(crate) fn new(asked: &Asked) -> Report {
        Report {
            engines: asked.engines.clone(),
            rows: asked.rows.clone(),
            runs: asked.runs,
            sizes: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, keys: u64, figures: Figures) {
        self.sizes.push((keys, figures));
    }

    /// Writes the files that were asked for.
    pub(crate) fn write(&self, asked: &Asked) -> Result<()> {
        if let Some(path) = &asked.json {
            fs::write(path, self.to_json())?;
        }
        if let Some(path) = &asked.markdown {
            fs::write(path, self.to_markdown())?;
        }
        if let Some(dir) = &asked.svg {
            charts::draw(&self.to_json(), dir)?;
        }
        Ok(())
    }

    fn rows(&self) -> impl Iterator<Item = &'static Row> {
        self.rows.iter().filter_map(|id| rows::find(id))
    }

    pub(crate) fn to_markdown(&self) -> String {
        let mut out = String::new();
        for (keys, figures) in &self.sizes {
            let _ = writeln!(
                out,
                "{keys} keys, medians of {} runs; in brackets CPU time per operation\n",
                self.runs
            );
            self.size_to_markdown(figures, &mut out);
            for failure in &figures.failures {
                let _ = writeln!(out, "\nFailed: {failure}");
            }
            out.push('\n');
        }
        out
    }

    fn size_to_markdown(&self, figures: &Figures, out: &mut String) {
        let engines = self.engines.join(" | ");
        let _ = writeln!(out, "| row | {engines} | best peer | ratio | target | |");
        let _ = writeln!(out, "|{}", " --- |".repeat(self.engines.len() + 5));
        for row in self.rows() {
            let _ = write!(out, "| {} |", row.label);
            for engine in &self.engines {
                let cell = figures.value(row, engine).map_or("–".to_owned(), |value| {
                    let cpu = figures.cpu_us(row, engine);
                    row.unit.show(value) + &cpu.map_or(String::new(), |us| format!(" [{}]", time(us)))
                });
                let _ = write!(out, " {cell} |");
            }
            let best = figures.best(row, &self.engines).map_or("–", |(peer, _)| peer);
            let ratio = figures.ratio(row, &self.engines);
            let ratio = ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
            let verdict = match figures.is_met(row, &self.engines) {
                None => "",
                Some(true) => "met",
                Some(false) => "**missed**",
            };
            let _ = writeln!(out, " {best} | {ratio} | {} | {verdict} |", target(row));
        }
    }

    pub(crate) fn to_json(&self) -> String {
        let mut out = String::from("{\n");
        let _ = writeln!(out, "  \"runs\": {},\n  \"sizes\": [", self.runs);
        for (i, (keys, figures)) in self.sizes.iter().enumerate() {
            let _ = writeln!(out, "    {{\"keys\": {keys}, \"rows\": [");
            let rows: Vec<String> = self.rows().map(|row| self.row_to_json(row, figures)).collect();
            let _ = writeln!(out, "{}\n    ],", rows.join(",\n"));
            let failures: Vec<String> = figures.failures.iter().map(|why| quoted(why)).collect();
            let comma = if i + 1 < self.sizes.len() { "," } else { "" };
            let _ = writeln!(out, "    \"failures\": [{}]}}{comma}", failures.join(", "));
        }
        out.push_str("  ]\n}\n");
        out
    }

    fn row_to_json(&self, row: &Row, figures: &Figures) -> String {
        let engines = self.engines.iter().filter_map(|engine| {
            let series = figures.series(row, engine)?;
            let values: Vec<String> = series.values.iter().map(|(_, value)| value.to_string()).collect();
            let cpu = figures
                .cpu_us(row, engine)
                .map_or("null".to_owned(), |us| us.to_string());
            let values = values.join(", ");
            Some(format!(
                "{}: {{\"values\": [{values}], \"cpu_us\": {cpu}}}",
                quoted(engine)
            ))
        });
        let engines: Vec<String> = engines.collect();
        let ratio = figures.ratio(row, &self.engines);
        let met = figures.is_met(row, &self.engines);
        format!(
            "      {{\"row\": {}, \"unit\": {}, \"ratio\": {}, \"target\": {}, \"met\": {}, \"engines\": {{{}}}}}",
            quoted(row.id),
            quoted(row.unit.name()),
            ratio.map_or("null".to_owned(), |ratio| ratio.to_string()),
            quoted(&target(row)),
            met.map_or("null".to_owned(), |met| met.to_string()),
            engines.join(", ")
        )
    }
}

fn target(row: &Row) -> String {
    match row.target {
        Target::None => "–".to_owned(),
        Target::AtMost(most) => format!("≤ {most} {}", row.unit.name()),
        Target::OfBest(times) if row.unit.is_more_better() => format!("≥ {times}"),
        Target::OfBest(times) => format!("≤ {times}"),
    }
}

/// A number in three digits or so.
pub(crate) fn amount(value: f64) -> String {
    match value {
        v if v >= 999_500.0 => format!("{:.2}M", v / 1e6),
        v if v >= 9_995.0 => format!("{:.0}k", v / 1e3),
        v if v >= 999.5 => format!("{:.1}k", v / 1e3),
        v if v >= 99.5 => format!("{v:.0}"),
        v if v >= 9.95 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// A time that is given in microseconds.
fn time(us: f64) -> String {
    match us {
        us if us >= 1e6 => format!("{:.1} s", us / 1e6),
        us if us >= 1e3 => format!("{:.1} ms", us / 1e3),
        us if us >= 1.0 => format!("{us:.1} µs"),
        us => format!("{:.0} ns", us * 1e3),
    }
}

pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(row: &'static str, series: &[(&str, &[f64])]) -> Report {
        let mut figures = Figures::default();
        for (engine, values) in series {
            for (run, value) in values.iter().enumerate() {
                figures.add(row, engine, run as u32, *value, Some(0.5));
            }
        }
        Report {
            engines: series.iter().map(|(engine, _)| (*engine).to_owned()).collect(),
            rows: vec![row],
            runs: 3,
            sizes: vec![(1000, figures)],
        }
    }

    fn verdict(row: &'static str, series: &[(&str, &[f64])]) -> (Option<f64>, Option<bool>) {
        let report = report(row, series);
        let figures = &report.sizes[0].1;
        let row = rows::find(row).unwrap();
        (
            figures.ratio(row, &report.engines),
            figures.is_met(row, &report.engines),
        )
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratios_are_taken_within_runs_against_the_best_peer() {
        let (ratio, met) = verdict(
            "get",
            &[
                ("weald", &[130.0, 50.0, 300.0]),
                ("lmdb", &[100.0, 50.0, 100.0]),
                ("redb", &[10.0, 10.0, 900.0]),
            ],
        );
        assert_eq!((ratio, met), (Some(1.3), Some(true)));
        let (ratio, met) = verdict("open", &[("weald", &[3.0]), ("lmdb", &[2.0]), ("redb", &[4.0])]);
        assert_eq!((ratio, met), (Some(1.5), Some(false)));
        assert_eq!(
            verdict("open-crash", &[("weald", &[50.0]), ("lmdb", &[0.1])]).1,
            Some(true)
        );
        assert_eq!(verdict("get", &[("weald", &[1.0])]), (None, None));
        assert_eq!(verdict("get", &[("lmdb", &[1.0])]), (None, None));
    }

    #[test]
    fn the_table_says_it_all() {
        let report = report("get", &[("weald", &[1_300_000.0]), ("lmdb", &[1_000_000.0])]);
        let table = report.to_markdown();
        assert!(
            table.contains("| random reads in one snapshot | 1.30M/s [500 ns] | 1.00M/s [500 ns] | lmdb | 1.30 | ≥ 1.2 | met |"),
            "{table}"
        );
    }

    #[test]
    fn json_is_written_with_care() {
        assert_eq!(quoted("a\"b\\c\n"), r#""a\"b\\c\u000a""#);
        let json = report("get", &[("weald", &[2.0]), ("lmdb", &[1.0])]).to_json();
        assert!(
            json.contains(r#""weald": {"values": [2], "cpu_us": 0.5}"#),
            "{json}"
        );
        assert!(
            json.contains(r#""ratio": 2, "target": "≥ 1.2", "met": true"#),
            "{json}"
        );
    }
}
