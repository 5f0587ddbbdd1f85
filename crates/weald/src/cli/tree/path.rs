//! Paths in trees: `/users/ann`, and references as they are typed.

use weald_proof::Reference;

use crate::cli::text;

/// Segments from the outermost tree down, none for that itself.
///
/// A slash in a segment is written `\/`, a backslash `\\`, any byte `\xff`, and the segment of no bytes `\e`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TreePath(Vec<Vec<u8>>);

impl std::str::FromStr for TreePath {
    type Err = String;

    fn from_str(path: &str) -> Result<TreePath, String> {
        let Some(rest) = path.strip_prefix('/') else {
            return Err("it begins with a slash, which alone is the outermost tree".to_owned());
        };
        if rest.is_empty() {
            return Ok(TreePath::default());
        }
        segments(rest).map(TreePath)
    }
}

impl std::fmt::Display for TreePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("/");
        }
        self.0
            .iter()
            .try_for_each(|segment| write!(f, "/{}", shown(segment)))
    }
}

impl TreePath {
    pub(crate) fn of(segments: &[Vec<u8>]) -> TreePath {
        TreePath(segments.to_vec())
    }

    /// The path of the tree, and the key in it; nothing for the outermost tree, which no key holds.
    pub(crate) fn split(&self) -> Option<(TreePath, &[u8])> {
        let (key, tree) = self.0.split_last()?;
        Some((TreePath(tree.to_vec()), key))
    }

    pub(crate) fn join(&self, key: &[u8]) -> TreePath {
        TreePath(self.0.iter().cloned().chain([key.to_vec()]).collect())
    }

    pub(crate) fn segments(&self) -> Vec<&[u8]> {
        self.0.iter().map(Vec::as_slice).collect()
    }
}

/// Segments with slashes between them.
fn segments(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut segments = vec![Some(Vec::new())];
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let last = segments.last_mut().expect("there is at least one");
        match first {
            b'/' => segments.push(Some(Vec::new())),
            // It stands for itself, so nothing may stand beside it.
            b'\\' if after.first() == Some(&b'e') => {
                let alone =
                    last.as_ref().is_some_and(Vec::is_empty) && matches!(after.get(1), None | Some(b'/'));
                if !alone {
                    return Err("\\e is the segment of no bytes, and stands alone between slashes".to_owned());
                }
                *last = None;
                rest = &rest[2..];
                continue;
            }
            b'\\' => {
                let (byte, len) = text::unescape_one(rest).ok_or_else(|| {
                    "after a backslash there must be one of \\ / e n r t or x and two digits".to_owned()
                })?;
                last.get_or_insert_default().push(byte);
                rest = &rest[len..];
                continue;
            }
            byte => last.get_or_insert_default().push(*byte),
        }
        rest = after;
    }
    if segments
        .iter()
        .any(|segment| segment.as_ref().is_some_and(Vec::is_empty))
    {
        return Err(
            "nothing stands between two slashes or after the last: the segment of no bytes is \\e".to_owned(),
        );
    }
    Ok(segments.into_iter().map(Option::unwrap_or_default).collect())
}

fn shown(segment: &[u8]) -> String {
    if segment.is_empty() {
        return "\\e".to_owned();
    }
    text::escape(segment).replace('/', "\\/")
}

/// Reads a reference: `/a/k` from the outermost tree, `k`, `b/k` and `../k` from the tree that holds it.
pub(crate) fn reference(text: &str) -> Result<Reference, String> {
    if text.starts_with('/') {
        let path: TreePath = text.parse()?;
        return if path.0.is_empty() {
            Err("a reference names a key".to_owned())
        } else {
            Ok(Reference::Absolute(path.0))
        };
    }
    let (mut up, mut rest) = (0, text);
    while let Some(inner) = rest.strip_prefix("../") {
        up += 1;
        rest = inner;
    }
    if rest.is_empty() || rest == ".." {
        return Err("a reference names a key".to_owned());
    }
    Ok(Reference::Relative {
        up,
        down: segments(rest)?,
    })
}

/// A reference as [`reference`] reads it.
pub(crate) fn shown_reference(reference: &Reference) -> String {
    match reference {
        Reference::Absolute(segments) => TreePath::of(segments).to_string(),
        Reference::Relative { up, down } => {
            let down: Vec<String> = down.iter().map(|segment| shown_relative(segment)).collect();
            "../".repeat(usize::try_from(*up).unwrap_or(usize::MAX).min(64)) + &down.join("/")
        }
    }
}

/// A segment called `..` is no step outwards.
fn shown_relative(segment: &[u8]) -> String {
    if segment == b".." {
        return "\\x2e.".to_owned();
    }
    shown(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_and_written() {
        let check = |path: &str, segments: &[&[u8]]| {
            let parsed: TreePath = path.parse().unwrap();
            assert_eq!(parsed.segments(), segments);
            assert_eq!(parsed.to_string(), path);
        };
        check("/", &[]);
        check("/a", &[b"a"]);
        check("/a/b", &[b"a", b"b"]);
        check("/a\\/b/\\xff\\\\", &[b"a/b", b"\xff\\"]);
        check("/\\e/a", &[b"", b"a"]);
        check("/a/\\e", &[b"a", b""]);
    }

    #[test]
    fn paths_that_may_be_slips_are_refused() {
        for wrong in [
            "", "a", "/a/", "//a", "/a//b", "/\\", "/\\q", "/a\\e", "/\\ea", "/\\e\\e", "/\\x1",
        ] {
            assert!(wrong.parse::<TreePath>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn references_are_read_and_written() {
        for text in ["/a/k", "k", "b/k", "../k", "../../a/b", "\\e", "\\x2e."] {
            let read = reference(text).unwrap();
            assert_eq!(shown_reference(&read), text);
        }
        assert_eq!(
            reference("../../a").unwrap(),
            Reference::Relative {
                up: 2,
                down: vec![b"a".to_vec()]
            }
        );
        for wrong in ["", "/", "..", "../", "../..", "a/"] {
            assert!(reference(wrong).is_err(), "{wrong}");
        }
    }
}
