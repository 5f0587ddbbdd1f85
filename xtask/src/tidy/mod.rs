//! What must hold of the repository and the compiler doesn't check.
//!
//! ```text
//!  source    Rust text without comments and strings
//!  modules   which files a crate is made of; what a file must and must not have
//!  edges     which crate may use which
//!  text      what no file may have
//!  links     links between documents
//!  golden    files of earlier versions, which must stay readable
//! ```
//!
//! Each check takes text and gives what is wrong with it, so that its tests can plant a fault.

mod edges;
mod golden;
mod links;
mod modules;
mod source;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::Outcome;

/// Something that is wrong, and where.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: PathBuf,
    /// From 1; 0 for the whole file.
    line: usize,
    what: String,
}

impl Finding {
    fn new(path: &Path, line: usize, what: impl Into<String>) -> Finding {
        Finding {
            path: path.to_owned(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path.display(), self.what),
            line => write!(f, "{}:{line}: {}", self.path.display(), self.what),
        }
    }
}

/// The repository's text files by their path from its root.
type Files = BTreeMap<PathBuf, String>;

/// Runs all checks.
pub(crate) fn run(root: &Path) -> Outcome {
    let files = read(root)?;
    let mut findings = check(&files);
    findings.sort();
    if findings.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    Err(format!("{}\n{} findings", lines.join("\n"), lines.len()))
}

fn check(files: &Files) -> Vec<Finding> {
    let mut findings = modules::check(files);
    findings.extend(edges::check(files));
    findings.extend(text::check(files));
    findings.extend(links::check(files));
    findings.extend(golden::check(files));
    findings
}

/// Reads all files that are text.
fn read(root: &Path) -> Result<Files, String> {
    let mut files = Files::new();
    for path in crate::files(root)? {
        let bytes = std::fs::read(root.join(&path)).map_err(|e| format!("{}: {e}", path.display()))?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.insert(path, text);
        }
    }
    Ok(files)
}

/// The number of the line, from 1, that byte `at` of `text` is in.
fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

#[cfg(test)]
fn files(entries: &[(&str, &str)]) -> Files {
    entries
        .iter()
        .map(|(path, text)| (PathBuf::from(path), (*text).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        if let Err(why) = run(crate::root()) {
            panic!("{why}");
        }
    }
}
