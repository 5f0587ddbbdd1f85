//! As much of `Cargo.toml` as the checks need: sections, keys, and the text of their values.

/// One `key = value` of a manifest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry<'m> {
    pub(crate) section: &'m str,
    pub(crate) key: &'m str,
    /// As written, all lines of it.
    pub(crate) value: String,
}

/// The entries of a manifest, in order.
pub(crate) fn entries(manifest: &str) -> Vec<Entry<'_>> {
    let mut section = "";
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut open = 0;
    for line in manifest.lines() {
        let line = line.trim();
        let text = line.split('#').next().unwrap_or_default().trim();
        if open > 0 {
            let entry = entries.last_mut().expect("an open bracket belongs to an entry");
            entry.value.push(' ');
            entry.value.push_str(text);
            open += depth(text);
        } else if let Some(name) = text.strip_prefix('[') {
            section = name.trim_start_matches('[').trim_end_matches(']');
        } else if let Some((key, value)) = text.split_once('=') {
            open = depth(value);
            entries.push(Entry {
                section,
                key: key.trim(),
                value: value.trim().to_owned(),
            });
        }
    }
    entries
}

/// How many more brackets open than close.
fn depth(text: &str) -> i32 {
    text.chars()
        .map(|c| match c {
            '[' | '{' => 1,
            ']' | '}' => -1,
            _ => 0,
        })
        .sum()
}

/// The strings of an array.
pub(crate) fn strings(value: &str) -> Vec<&str> {
    value.split('"').skip(1).step_by(2).collect()
}

/// The kind of dependency that a section lists, and the dependency where the section is about a single one.
pub(crate) fn dependency_section(section: &str) -> Option<(Kind, Option<&str>)> {
    // `target.'cfg(unix)'.dependencies` is like `dependencies`.
    let tail = match section.strip_prefix("target.") {
        Some(rest) => match rest.rfind("dependencies") {
            Some(at) => &rest[rest[..at].rfind('.').map_or(0, |dot| dot + 1)..],
            None => return None,
        },
        None => section,
    };
    let (list, single) = match tail.split_once('.') {
        Some((list, single)) => (list, Some(single)),
        None => (tail, None),
    };
    let kind = match list {
        "dependencies" => Kind::Normal,
        "dev-dependencies" => Kind::Dev,
        "build-dependencies" => Kind::Build,
        _ => return None,
    };
    Some((kind, single))
}

/// Who needs a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Dev,
    Build,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_know_their_section_and_may_span_lines() {
        let manifest =
            "[package]\nname = \"a\" # that is me\n\n[features]\nall = [\n  \"b\", # one\n  \"c\",\n]\n";
        let found = entries(manifest);
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].section, found[0].key, found[0].value.as_str()),
            ("package", "name", "\"a\"")
        );
        assert_eq!((found[1].section, found[1].key), ("features", "all"));
        assert_eq!(strings(&found[1].value), ["b", "c"]);
    }

    #[test]
    fn sections_of_dependencies_are_told_apart() {
        assert_eq!(dependency_section("dependencies"), Some((Kind::Normal, None)));
        assert_eq!(dependency_section("dev-dependencies"), Some((Kind::Dev, None)));
        assert_eq!(
            dependency_section("dependencies.weald-vfs"),
            Some((Kind::Normal, Some("weald-vfs")))
        );
        assert_eq!(
            dependency_section("target.'cfg(target_os = \"linux\")'.build-dependencies"),
            Some((Kind::Build, None))
        );
        assert_eq!(dependency_section("workspace.dependencies"), None);
        assert_eq!(dependency_section("features"), None);
    }
}
