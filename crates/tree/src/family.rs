//! Where the keys of subtrees lie: families, which are buckets of the engine, and prefixes within them.

use weald_engine::{Bucket, BucketMut, Database, Readable, Writable};
use weald_proof::prefix;

use crate::error::Result;

/// The length of the prefix of a subtree's keys.
pub const PREFIX_LEN: usize = 32;

/// A name space of its own for keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// The subtree's data.
    Main,
    /// What the application keeps beside it.
    Aux,
    /// What is known of the subtree itself.
    Roots,
    /// Metadata of the subtree.
    Meta,
    /// Metadata of the whole database: one name space for all subtrees, without a prefix.
    GlobalMeta,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 5] = [
        Family::Main,
        Family::Aux,
        Family::Roots,
        Family::Meta,
        Family::GlobalMeta,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Family::Main => "main",
            Family::Aux => "aux",
            Family::Roots => "roots",
            Family::Meta => "meta",
            Family::GlobalMeta => "global-meta",
        }
    }

    /// The bytes that precede the keys of the subtree with that prefix.
    pub(crate) fn prefix(self, prefix: &[u8; PREFIX_LEN]) -> &[u8] {
        if self == Family::GlobalMeta { &[] } else { prefix }
    }
}

/// The prefix of the keys of the subtree at `path`: BLAKE3 of its segments, each with its length, so that no two paths
/// have the same.
#[must_use]
pub fn path_prefix(path: &[&[u8]]) -> [u8; PREFIX_LEN] {
    *prefix(path.iter().map(|segment| (*segment, 0))).as_bytes()
}

/// A layer's buckets in the database, told apart by their names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    names: &'static [&'static str],
    layer: &'static str,
}

/// The buckets of [`Storage`](crate::Storage).
pub(crate) const STORAGE: Layout = Layout {
    names: &["main", "aux", "roots", "meta", "global-meta"],
    layer: "weald storage ",
};

impl Layout {
    pub(crate) const fn new(layer: &'static str, names: &'static [&'static str]) -> Layout {
        Layout { names, layer }
    }

    /// Whether all buckets are there.
    pub(crate) fn is_complete(&self, db: &Database) -> Result<bool> {
        let tx = db.read()?;
        let mut complete = true;
        for name in self.names {
            complete &= tx.bucket_exists(&self.bucket_name(name))?;
        }
        Ok(complete)
    }

    /// Creates the buckets that are not there.
    pub(crate) fn create(&self, db: &Database) -> Result<()> {
        if !self.is_complete(db)? {
            let mut tx = db.write()?;
            for name in self.names {
                tx.create_bucket_if_absent(&self.bucket_name(name))?;
            }
            tx.commit()?;
        }
        Ok(())
    }

    fn bucket_name(&self, name: &str) -> Vec<u8> {
        [self.layer.as_bytes(), name.as_bytes()].concat()
    }

    pub(crate) fn bucket<'t>(&self, root: &Bucket<'t>, name: &str) -> Result<Bucket<'t>> {
        Ok(root.bucket(&self.bucket_name(name))?)
    }

    pub(crate) fn bucket_mut<'t, 'db>(
        &self,
        root: BucketMut<'t, 'db>,
        name: &str,
    ) -> Result<BucketMut<'t, 'db>> {
        Ok(root.into_bucket_mut(&self.bucket_name(name))?)
    }
}

/// The bucket of a family as a transaction sees it.
pub(crate) fn bucket<'t>(root: &Bucket<'t>, family: Family) -> Result<Bucket<'t>> {
    STORAGE.bucket(root, family.name())
}

/// The bucket of a family to write to.
pub(crate) fn bucket_mut<'t, 'db>(root: BucketMut<'t, 'db>, family: Family) -> Result<BucketMut<'t, 'db>> {
    STORAGE.bucket_mut(root, family.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_those_written_down() {
        let hex = |bytes: [u8; PREFIX_LEN]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        for (path, expected) in [
            (
                &[][..],
                "c383b6062f3025dbfb6347375cc89b871dc18205dea8cb9fbc8b6c9d2ba87d6a",
            ),
            (
                &[&b"a"[..]],
                "b163c6a75fd2e84c2176bc9780db69654b755140a3d27fed4f297e92a270a98b",
            ),
            (
                &[&b"a"[..], b"b"],
                "17f55c4c686d0c65b1a99a49b82114488ce5e7cad50b9fda42b3a61b876b0a11",
            ),
            (
                &[&b"ab"[..]],
                "2cae82b611c6141248b155de22eddb5c04c1fc0c9d140f525cc6cfdff850b908",
            ),
            (
                &[&b""[..]],
                "04844a442c3e807b93a1dff7a87c075f1138da1a479194dea8f597ca5bd1b5bf",
            ),
        ] {
            assert_eq!(hex(path_prefix(path)), expected);
        }
        assert_ne!(path_prefix(&[b"ab", b"c"]), path_prefix(&[b"a", b"bc"]));
        assert_ne!(path_prefix(&[b"a", b""]), path_prefix(&[b"a"]));
    }
}
