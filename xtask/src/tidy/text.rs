//! What no file of the repository may have.

use std::path::Path;

use super::{Files, Finding};

pub(super) fn check(files: &Files) -> Vec<Finding> {
    let forbidden = forbidden();
    let mut findings = Vec::new();
    for (path, text) in files {
        for (number, line) in (1..).zip(text.lines()) {
            let mut report = |what: String| findings.push(Finding::new(path, number, what));
            if line.ends_with([' ', '\t']) {
                report("trailing blanks".into());
            }
            for (pattern, why) in &forbidden {
                if mentions(line, pattern) {
                    report(format!("{pattern:?}: {why}"));
                }
            }
        }
        if !text.is_empty() && !text.ends_with('\n') && !is_data(path) {
            findings.push(Finding::new(path, 0, "the last line does not end"));
        }
    }
    findings
}

/// Put together here, so that this file has none of them.
fn forbidden() -> Vec<(String, &'static str)> {
    let machine =
        "a path of one machine: use a temporary directory, or a path from the root of the repository";
    vec![
        (["/", "work/"].concat(), machine),
        (["/", "root/"].concat(), machine),
        (["/", "tmp/"].concat(), machine),
        (["/", "home/"].concat(), machine),
        (["../", "shared"].concat(), "the repository stands on its own"),
        (["<<<<", "<<< "].concat(), "a merge was not finished"),
        ([">>>>", ">>> "].concat(), "a merge was not finished"),
    ]
}

/// Whether a line has the pattern, and not as the tail of a longer path such as `crates/work/`.
fn mentions(line: &str, pattern: &str) -> bool {
    line.match_indices(pattern).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !pattern.starts_with('/') || !before.is_some_and(|c| c.is_alphanumeric() || "_-.$}".contains(c))
    })
}

fn is_data(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "golden")
}

#[cfg(test)]
mod tests {
    use super::super::files;
    use super::*;

    fn count(text: &str) -> usize {
        check(&files(&[("a.md", text)])).len()
    }

    #[test]
    fn planted_faults_are_found() {
        assert_eq!(count("fine\n"), 0);
        assert_eq!(count("trailing \n"), 1);
        assert_eq!(count("unfinished"), 1);
        for (pattern, _) in forbidden() {
            assert_eq!(count(&format!("see {pattern}x\n")), 1, "{pattern}");
        }
    }

    #[test]
    fn a_folder_of_that_name_is_no_machine_path() {
        assert_eq!(count(&format!("see crates{}x\n", ["/", "work/"].concat())), 0);
    }
}
