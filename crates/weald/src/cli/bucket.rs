//! Paths of buckets: `users/by-name`, and how to get there.

use weald::{Bucket, BucketMut, Readable, Writable};

use crate::cli::text;

/// Names from the root bucket down; empty for the root bucket itself.
///
/// A slash in a name is written `\/`, a backslash `\\`, any byte `\xff`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BucketPath(Vec<Vec<u8>>);

impl std::str::FromStr for BucketPath {
    type Err = String;

    fn from_str(path: &str) -> Result<BucketPath, String> {
        let mut names = vec![Vec::new()];
        let mut rest = path.as_bytes();
        while let [first, after @ ..] = rest {
            match first {
                b'/' => names.push(Vec::new()),
                b'\\' => {
                    let (byte, len) = text::unescape_one(rest).ok_or_else(|| {
                        "after a backslash there must be one of \\ / n r t or x and two digits".to_owned()
                    })?;
                    names.last_mut().expect("there is at least one").push(byte);
                    rest = &rest[len..];
                    continue;
                }
                byte => names.last_mut().expect("there is at least one").push(*byte),
            }
            rest = after;
        }
        match names.iter().find(|name| name.is_empty() || name.len() > 255) {
            Some(name) => Err(format!(
                "the name of a bucket has 1 to 255 bytes, not {}; write a slash in a name as \\/",
                name.len()
            )),
            None => Ok(BucketPath(names)),
        }
    }
}

impl std::fmt::Display for BucketPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            let slash = if i > 0 { "/" } else { "" };
            write!(f, "{slash}{}", text::escape(name).replace('/', "\\/"))?;
        }
        Ok(())
    }
}

impl BucketPath {
    /// The bucket's own name, and the path of the one that it is in.
    pub(crate) fn split(&self) -> Option<(BucketPath, &[u8])> {
        let (name, parents) = self.0.split_last()?;
        Some((BucketPath(parents.to_vec()), name))
    }

    /// The path of a bucket in this one.
    pub(crate) fn join(&self, name: &[u8]) -> BucketPath {
        let mut names = self.0.clone();
        names.push(name.to_vec());
        BucketPath(names)
    }

    /// The paths that lead to this one, from the top, and it itself.
    pub(crate) fn ancestors(&self) -> impl Iterator<Item = BucketPath> {
        (1..=self.0.len()).map(|depth| BucketPath(self.0[..depth].to_vec()))
    }

    pub(crate) fn names(&self) -> &[Vec<u8>] {
        &self.0
    }

    /// The bucket, for reading.
    pub(crate) fn read<'t>(&self, tx: &'t impl Readable) -> weald::Result<Bucket<'t>> {
        self.0
            .iter()
            .try_fold(tx.root(), |bucket, name| bucket.bucket(name))
    }

    /// The bucket, for writing.
    pub(crate) fn write<'t, 'db>(&self, tx: &'t mut impl Writable<'db>) -> weald::Result<BucketMut<'t, 'db>> {
        self.0
            .iter()
            .try_fold(tx.root_mut(), |bucket, name| bucket.into_bucket_mut(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_and_written() {
        let check = |path: &str, names: &[&[u8]]| {
            let parsed: BucketPath = path.parse().unwrap();
            assert_eq!(parsed.0, names);
            assert_eq!(parsed.to_string(), path);
        };
        check("a", &[b"a"]);
        check("a/b/c", &[b"a", b"b", b"c"]);
        check("a\\/b/\\xff\\\\", &[b"a/b", b"\xff\\"]);
    }

    #[test]
    fn paths_that_name_nothing_are_refused() {
        for wrong in ["", "/", "a/", "/a", "a//b", "\\", "\\q", "\\x1", "\\xgg", "\\xä"] {
            assert!(wrong.parse::<BucketPath>().is_err(), "{wrong}");
        }
        assert!("x".repeat(256).parse::<BucketPath>().is_err());
    }
}
