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
    /// Who is the measure instead, and how many times its figure is good enough.
    rival: Option<(&'static str, f64)>,
    figures: Vec<(String, f64)>,
}

impl Row {
    /// What is wanted of the first of ours, and whether it is so.
    fn verdict(&self, ours: Option<f64>) -> String {
        let verdict = |is_met| if is_met { "met" } else { "missed" };
        let mut wanted = Vec::new();
        if let Some(target) = self.target {
            let is_met = ours.is_some_and(|figure| figure <= target);
            wanted.push(format!("at most {target}: {}", verdict(is_met)));
        }
        if let Some((rival, times)) = self.rival {
            let theirs = self.figures.iter().find(|(who, _)| who == rival);
            // Rivals are compiled in only if asked for.
            if let (Some(ours), Some((_, theirs))) = (ours, theirs) {
                let ratio = ours / theirs;
                let is_met = verdict(ratio <= times);
                wanted.push(format!("at most {times} × {rival}: {is_met}, {ratio:.2}"));
            }
        }
        wanted.join("; ")
    }
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
                rival: None,
                figures: vec![figure],
            }),
        }
    }

    /// Says that in a row, which has figures, ours should be at most so many times that of a rival.
    pub(super) fn compare(&mut self, row: &str, rival: &'static str, times: f64) {
        if let Some(known) = self.rows.iter_mut().find(|known| known.name == row) {
            known.rival = Some((rival, times));
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
                let each = figures
                    .iter()
                    .map(|(who, figure)| match who.strip_prefix("weald") {
                        Some("") => shown(*figure),
                        Some(how) => format!("{} ({})", shown(*figure), how.trim_start()),
                        None => format!("{who} {}", shown(*figure)),
                    });
                each.collect::<Vec<_>>().join(", ")
            };
            let target = row.verdict(ours.first().map(|(_, figure)| *figure));
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
        report.add("large", "ns", None, "weald", 11.0);
        report.add("large", "ns", None, "weald huge pages advised", 9.0);
        report.compare("large", "dashmap", 1.1);
        assert!(
            report
                .markdown()
                .contains("| large | ns | 11.0, 9.0 (huge pages advised) |  |  |")
        );
        report.add("large", "ns", None, "dashmap", 10.0);
        report.note("noted".to_owned());
        let text = report.markdown();
        assert!(text.contains("| get | ns | 11.0 | dashmap 13.1 | at most 12: met |"));
        assert!(text.contains("| dashmap 10.0 | at most 1.1 × dashmap: met, 1.10 |"));
        assert!(text.contains("at most 5: missed") && text.ends_with("noted\n"));
    }
}
