//! The figures as a table.

use std::fmt::Write;

/// Rows in the order in which they came, with a figure for each that was measured.
#[derive(Debug, Default)]
pub(super) struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
}

#[derive(Debug)]
struct Row {
    name: String,
    unit: &'static str,
    target: Option<f64>,
    figures: Vec<(String, f64)>,
}

impl Report {
    pub(super) fn add(&mut self, row: &str, unit: &'static str, target: Option<f64>, who: &str, figure: f64) {
        eprintln!("{row}: {who} {figure:.3} {unit}");
        let figure = (who.to_owned(), figure);
        match self.rows.iter_mut().find(|known| known.name == row) {
            Some(known) => known.figures.push(figure),
            None => self.rows.push(Row {
                name: row.to_owned(),
                unit,
                target,
                figures: vec![figure],
            }),
        }
    }

    pub(super) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    pub(super) fn markdown(&self) -> String {
        let mut text =
            "| row | unit | Weald | others | target |\n| --- | --- | --- | --- | --- |\n".to_owned();
        for row in &self.rows {
            let shown = |figure: f64| match row.unit {
                "share" => format!("{figure:.3}"),
                _ => format!("{figure:.1}"),
            };
            let (ours, others): (Vec<_>, Vec<_>) =
                row.figures.iter().partition(|(who, _)| who.starts_with("weald"));
            let list = |figures: &[&(String, f64)]| {
                let each = figures.iter().map(|(who, figure)| match who.as_str() {
                    "weald" => shown(*figure),
                    "weald-2M" => format!("{} (2M)", shown(*figure)),
                    who => format!("{who} {}", shown(*figure)),
                });
                each.collect::<Vec<_>>().join(", ")
            };
            let target = row.target.map_or(String::new(), |target| {
                let is_met = ours.first().is_some_and(|(_, figure)| *figure <= target);
                format!("at most {target}: {}", if is_met { "met" } else { "missed" })
            });
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {target} |",
                row.name,
                row.unit,
                list(&ours),
                list(&others)
            );
        }
        for note in &self.notes {
            let _ = writeln!(text, "\n{note}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_judged_by_the_first_of_ours() {
        let mut report = Report::default();
        report.add("get", "ns", Some(12.0), "weald", 11.0);
        report.add("get", "ns", Some(12.0), "dashmap", 13.06);
        report.add("miss", "ns", Some(5.0), "weald", 11.0);
        report.note("noted".to_owned());
        let text = report.markdown();
        assert!(text.contains("| get | ns | 11.0 | dashmap 13.1 | at most 12: met |"));
        assert!(text.contains("at most 5: missed") && text.ends_with("noted\n"));
    }
}
