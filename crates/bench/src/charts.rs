//! Charts of a comparison, drawn from its JSON: bars for each engine, row by row, as SVG that reads on a light page and on a dark one.
//!
//! A bar is as long as its value is to the largest of its row, so that rows of different units stand in one chart. Where less is better, that is
//! said in the title.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::engine::Result;
use crate::report::{amount, median};
use crate::rows::{self, Row};

/// The charts, and the rows that are in them.
const CHARTS: [(&str, &str, &[&str]); 4] = [
    (
        "reads",
        "Reading",
        &[
            "get",
            "get-snapshots",
            "get-threads",
            "get-absent",
            "seek",
            "scan",
            "get-cold",
            "large-get",
        ],
    ),
    (
        "writes",
        "Writing",
        &[
            "load",
            "load-sorted",
            "commit-1",
            "commit-threads",
            "commit-1000",
            "unsynced",
            "overwrite",
            "overwrite-beside",
            "remove",
            "large-put",
        ],
    ),
    (
        "mixed",
        "Reading and writing",
        &[
            "beside-reads",
            "beside-writes",
            "ycsb-c",
            "ycsb-b",
            "ycsb-a",
            "ycsb-f",
            "ycsb-e",
            "ycsb-a-durable",
            "ycsb-f-durable",
        ],
    ),
    (
        "files",
        "Opening, files and memory: less is better",
        &[
            "open",
            "open-crash",
            "disk-removed",
            "disk-compacted",
            "compact",
            "overwrite-growth",
            "memory",
        ],
    ),
];

/// The engines in the order of their colours; others follow.
const COLOURS: [(&str, &str); 10] = [
    ("weald", "#2e9e6b"),
    ("lmdb", "#4a7fc1"),
    ("lmdb-w", "#8fb3dd"),
    ("redb", "#c9554f"),
    ("fjall", "#c98f2b"),
    ("rocksdb", "#8a63b8"),
    ("rocksdb-r", "#b79bd6"),
    ("canopydb", "#3f9aa8"),
    ("sled", "#8b8b8b"),
    ("", "#b0a58f"),
];

const WIDTH: u32 = 840;
/// Where bars begin, and the length of the longest.
const LEFT: u32 = 350;
const LONGEST: f64 = 420.0;
const BAR: u32 = 11;
const GAP: u32 = 12;
const TOP: u32 = 66;

/// A row and what each engine has in it.
struct Bars {
    row: &'static Row,
    values: Vec<(String, f64)>,
}

/// Draws the charts of every size in `json` into `dir`; gives the names of the files.
pub(crate) fn draw(json: &str, dir: &Path) -> Result<Vec<String>> {
    let report: Value = serde_json::from_str(json)?;
    let sizes = report["sizes"].as_array().ok_or("the JSON has no sizes")?;
    fs::create_dir_all(dir)?;
    let mut names = Vec::new();
    for size in sizes {
        let keys = size["keys"].as_u64().ok_or("a size has no number of keys")?;
        let rows = rows_of(size)?;
        for (name, title, ids) in CHARTS {
            let bars_of = |id: &&str| rows.iter().find(|bars| bars.row.id == *id);
            let chosen: Vec<&Bars> = ids.iter().filter_map(bars_of).collect();
            if chosen.is_empty() {
                continue;
            }
            let suffix = if sizes.len() > 1 {
                format!("-{keys}")
            } else {
                String::new()
            };
            let file = format!("{name}{suffix}.svg");
            fs::write(dir.join(&file), chart(title, keys, &chosen))?;
            names.push(file);
        }
    }
    Ok(names)
}

fn rows_of(size: &Value) -> Result<Vec<Bars>> {
    let rows = size["rows"].as_array().ok_or("a size has no rows")?;
    let mut all = Vec::new();
    for row in rows {
        let Some(known) = row["row"].as_str().and_then(rows::find) else {
            continue;
        };
        let engines = row["engines"].as_object().ok_or("a row has no engines")?;
        let mut values: Vec<(String, f64)> = engines
            .iter()
            .filter_map(|(engine, series)| {
                let values = series["values"].as_array()?;
                let value = median(values.iter().filter_map(Value::as_f64).collect())?;
                Some((engine.clone(), value))
            })
            .collect();
        values.sort_by_key(|(engine, _)| place(engine));
        if !values.is_empty() {
            all.push(Bars { row: known, values });
        }
    }
    Ok(all)
}

fn place(engine: &str) -> usize {
    let known = COLOURS.iter().position(|(name, _)| *name == engine);
    known.unwrap_or(COLOURS.len() - 1)
}

fn chart(title: &str, keys: u64, rows: &[&Bars]) -> String {
    let mut body = String::new();
    let mut y = TOP;
    for bars in rows {
        row(bars, y, &mut body);
        y += bars.values.len() as u32 * BAR + GAP;
    }
    let mut engines: Vec<&str> = rows
        .iter()
        .flat_map(|bars| bars.values.iter().map(|(engine, _)| engine.as_str()))
        .collect();
    engines.sort_by_key(|engine| (place(engine), *engine));
    engines.dedup();
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" height=\"{y}\" role=\"img\">\n\
         <title>{title}, {keys} keys</title>\n\
         <style>text{{font:12px sans-serif;fill:#24292f}}.h{{font-size:15px;font-weight:bold}}.v{{font-size:10px;fill:#57606a}}\
         @media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}.v{{fill:#9da7b1}}}}</style>\n\
         <text class=\"h\" x=\"10\" y=\"22\">{title}, {} keys</text>\n",
        amount(keys as f64)
    );
    let mut x = 10;
    for engine in engines {
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"36\" width=\"10\" height=\"10\" fill=\"{}\"/><text x=\"{}\" y=\"45\">{}</text>",
            COLOURS[place(engine)].1,
            x + 15,
            escaped(engine)
        );
        x += 32 + 7 * engine.len() as u32;
    }
    out + &body + "</svg>\n"
}

fn row(bars: &Bars, top: u32, out: &mut String) {
    let middle = top + bars.values.len() as u32 * BAR / 2 + 4;
    let right = LEFT - 10;
    let label = escaped(bars.row.label);
    let _ = writeln!(
        out,
        "<text x=\"{right}\" y=\"{middle}\" text-anchor=\"end\">{label}</text>"
    );
    let most = bars.values.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    for (i, (engine, value)) in bars.values.iter().enumerate() {
        let y = top + i as u32 * BAR;
        // A bar that could not be seen would look like a figure that is not there.
        let length = if most > 0.0 { value / most * LONGEST } else { 0.0 }.max(1.0);
        let _ = writeln!(
            out,
            "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{}\" fill=\"{}\"/>\
             <text class=\"v\" x=\"{:.1}\" y=\"{}\">{}</text>",
            BAR - 1,
            COLOURS[place(engine)].1,
            f64::from(LEFT) + length + 4.0,
            y + 9,
            bars.row.unit.show(*value)
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"runs": 3, "sizes": [{"keys": 1000, "rows": [
        {"row": "get", "engines": {"redb": {"values": [500000, 400000, 900000]}, "weald": {"values": [1000000]}}},
        {"row": "len", "engines": {"weald": {"values": [1]}}},
        {"row": "open", "engines": {"weald": {"values": [0.3]}, "a<b": {"values": [0.6]}}},
        {"row": "gone", "engines": {"weald": {"values": [1]}}},
        {"row": "commit-1", "engines": {"weald": {"values": []}}}
    ], "failures": []}]}"#;

    #[test]
    fn bars_are_as_long_as_their_values() {
        let dir = tempfile::tempdir().unwrap();
        let names = draw(JSON, &dir.path().join("charts")).unwrap();
        assert_eq!(names, ["reads.svg", "files.svg"]);
        let read = |name: &str| fs::read_to_string(dir.path().join("charts").join(name)).unwrap();
        let reads = read("reads.svg");
        assert!(reads.contains("random reads in one snapshot"), "{reads}");
        assert!(
            reads.contains("width=\"420.0\"") && reads.contains("1.00M/s"),
            "{reads}"
        );
        assert!(
            reads.contains("width=\"210.0\"") && reads.contains("500k/s"),
            "{reads}"
        );
        assert!(reads.find("#2e9e6b").unwrap() < reads.find("#c9554f").unwrap());
        let files = read("files.svg");
        assert!(files.contains("a&lt;b") && files.contains("0.60 ms"), "{files}");
        assert!(
            files.contains("less is better") && !files.contains("a<b"),
            "{files}"
        );
    }

    #[test]
    fn what_is_no_comparison_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for json in [
            "",
            "{}",
            r#"{"sizes": [{}]}"#,
            r#"{"sizes": [{"keys": 1, "rows": [{"row": "get"}]}]}"#,
        ] {
            assert!(draw(json, dir.path()).is_err(), "{json}");
        }
    }
}
