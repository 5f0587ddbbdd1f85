//! Files that earlier versions wrote, which must stay readable: that they are still there.

use std::path::Path;

use super::{Files, Finding};

/// Folders of such files, and how many there are at least: the number only ever grows.
const GOLDEN: [(&str, usize); 2] = [
    ("crates/proof/tests/trees/golden", 9),
    ("crates/cluster-proto/tests/golden", 1),
];

pub(super) fn check(files: &Files) -> Vec<Finding> {
    GOLDEN
        .iter()
        .filter_map(|&(folder, at_least)| {
            let folder = Path::new(folder);
            let there = files.keys().filter(|path| path.starts_with(folder)).count();
            let what =
                format!("{there} golden files, and there were {at_least}: files of every version stay");
            (there < at_least).then(|| Finding::new(folder, 0, what))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::files;
    use super::*;

    #[test]
    fn files_that_are_gone_are_missed() {
        assert_eq!(check(&files(&[])).len(), GOLDEN.len());
        let names: Vec<String> = GOLDEN
            .iter()
            .flat_map(|(folder, count)| (0..*count).map(move |i| format!("{folder}/{i}.txt")))
            .collect();
        let there: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
        assert_eq!(check(&files(&there)), []);
    }
}
