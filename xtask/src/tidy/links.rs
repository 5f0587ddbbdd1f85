//! Links between documents.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::{Files, Finding};

/// Checks that what relative links of Markdown files name is there, headings included.
pub(super) fn check(files: &Files) -> Vec<Finding> {
    let folders: BTreeSet<&Path> = files.keys().flat_map(|path| path.ancestors().skip(1)).collect();
    let mut findings = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| is_markdown(path)) {
        for (line, link) in links(text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let folder = path.parent().unwrap_or(Path::new(""));
            let target = if file.is_empty() {
                path.clone()
            } else {
                normal(&folder.join(file))
            };
            let Some(found) = files.get(&target) else {
                if !folders.contains(target.as_path()) {
                    findings.push(Finding::new(
                        path,
                        line,
                        format!("the link {link:?} leads nowhere"),
                    ));
                }
                continue;
            };
            if !heading.is_empty() && is_markdown(&target) && !slugs(found).contains(heading) {
                findings.push(Finding::new(
                    path,
                    line,
                    format!("{link:?}: there is no such heading"),
                ));
            }
        }
    }
    findings
}

fn is_markdown(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

/// The lines outside of code blocks, numbered.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The targets of `[text](target)`, with their lines.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        let mut rest = line;
        while let Some(at) = rest.find("](") {
            let before = rest[..at].matches('`').count();
            rest = &rest[at + 2..];
            let Some(end) = rest.find(')') else { break };
            // An odd number of backticks before it: this is code.
            if before % 2 == 0 {
                links.push((number, rest[..end].split_whitespace().next().unwrap_or_default()));
            }
            rest = &rest[end..];
        }
    }
    links
}

/// The names by which the headings of a document are linked to.
fn slugs(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| {
            line.trim_start_matches('#')
                .trim()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() })
                .collect()
        })
        .collect()
}

/// The path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::files;
    use super::*;

    fn count(text: &str) -> usize {
        check(&files(&[
            ("docs/a.md", text),
            ("docs/b.md", "# One heading: it\n"),
            ("src/lib.rs", ""),
        ]))
        .len()
    }

    #[test]
    fn links_that_resolve_pass() {
        assert_eq!(
            count("[b](b.md) [src](../src) [lib](../src/lib.rs) [me](#own)\n# Own\n"),
            0
        );
        assert_eq!(
            count("[b](b.md#one-heading-it) [web](https://example.com/b.md)\n"),
            0
        );
        assert_eq!(count("`[b](gone.md)`\n```\n[b](gone.md)\n```\n"), 0);
    }

    #[test]
    fn links_to_nothing_are_found() {
        assert_eq!(count("[b](gone.md)\n"), 1);
        assert_eq!(count("[b](b.md#another)\n"), 1);
        assert_eq!(count("[b](../b.md)\n"), 1);
        assert_eq!(count("fine `x` [b](gone.md)\n"), 1);
    }
}
