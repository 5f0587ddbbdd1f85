//! The oracle: what a database is, in the simplest form that it could have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) bytes: Arc<[u8]>,
    /// Whether it has a time to live, which in these tests is far away.
    pub(crate) mortal: bool,
}

/// A bucket with everything in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) pairs: BTreeMap<Vec<u8>, Value>,
    pub(crate) buckets: BTreeMap<Vec<u8>, Model>,
    pub(crate) sequence: u64,
    /// Keys that have expired and may not have been collected: invisible, but counted by `len`.
    pub(crate) ghosts: BTreeSet<Vec<u8>>,
}

impl PartialEq for Model {
    fn eq(&self, other: &Model) -> bool {
        self.pairs == other.pairs && self.buckets == other.buckets && self.sequence == other.sequence
    }
}

impl Model {
    pub(crate) fn at(&self, path: &[Vec<u8>]) -> Option<&Model> {
        path.iter()
            .try_fold(self, |bucket, name| bucket.buckets.get(name))
    }

    pub(crate) fn at_mut(&mut self, path: &[Vec<u8>]) -> Option<&mut Model> {
        path.iter()
            .try_fold(self, |bucket, name| bucket.buckets.get_mut(name))
    }

    pub(crate) fn put(&mut self, key: &[u8], bytes: &[u8], mortal: bool) {
        self.ghosts.remove(key);
        let bytes = bytes.into();
        self.pairs.insert(key.to_vec(), Value { bytes, mortal });
    }

    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        self.ghosts.remove(key);
        self.pairs.remove(key).is_some()
    }

    /// The paths of all buckets, this one's first.
    pub(crate) fn paths(&self) -> Vec<Vec<Vec<u8>>> {
        let mut paths = vec![Vec::new()];
        for (name, bucket) in &self.buckets {
            for mut path in bucket.paths() {
                path.insert(0, name.clone());
                paths.push(path);
            }
        }
        paths
    }

    /// Expired keys were collected.
    pub(crate) fn lay_ghosts(&mut self) {
        self.ghosts.clear();
        self.buckets.values_mut().for_each(Model::lay_ghosts);
    }

    /// There may also be the ghosts that `other` has.
    pub(crate) fn haunt(&mut self, other: &Model) {
        self.ghosts.extend(other.ghosts.iter().cloned());
        for (name, bucket) in &mut self.buckets {
            if let Some(other) = other.buckets.get(name) {
                bucket.haunt(other);
            }
        }
    }

    /// Where two models differ, in words.
    pub(crate) fn difference(&self, other: &Model) -> String {
        for (path, what) in [(self, "only in the first"), (other, "only in the second")] {
            let third = if std::ptr::eq(path, self) { other } else { self };
            for name in path.paths() {
                let (mine, theirs) = (path.at(&name).expect("its own path"), third.at(&name));
                let Some(theirs) = theirs else {
                    return format!("bucket {name:02x?} is {what}");
                };
                if mine.sequence != theirs.sequence {
                    return format!(
                        "bucket {name:02x?}: sequences {} and {}",
                        mine.sequence, theirs.sequence
                    );
                }
                for (key, value) in &mine.pairs {
                    match theirs.pairs.get(key) {
                        None => return format!("bucket {name:02x?}: key {} is {what}", show(key)),
                        Some(other) if other != value => {
                            return format!(
                                "bucket {name:02x?}: key {} has {} and {} (mortal: {} and {})",
                                show(key),
                                show(&value.bytes),
                                show(&other.bytes),
                                value.mortal,
                                other.mortal
                            );
                        }
                        Some(_) => {}
                    }
                }
            }
        }
        "nothing".into()
    }
}

/// Bytes as a person reads them.
pub(crate) fn show(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(24)];
    format!("\"{}\" ({} bytes)", start.escape_ascii(), bytes.len())
}

/// The merge operators that both sides have.
pub(crate) const OPERATORS: [&str; 3] = ["append", "add", "toggle"];

/// Appends, and keeps the last bytes.
pub(crate) fn append(_: &[u8], value: Option<&[u8]>, operand: &[u8]) -> Option<Vec<u8>> {
    let mut out = value.unwrap_or_default().to_vec();
    out.extend_from_slice(operand);
    let excess = out.len().saturating_sub(3000);
    Some(out.split_off(excess))
}

/// Adds numbers.
pub(crate) fn add(_: &[u8], value: Option<&[u8]>, operand: &[u8]) -> Option<Vec<u8>> {
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .take(8)
            .rev()
            .fold(0u64, |n, b| n << 8 | u64::from(*b))
    };
    let sum = number(value.unwrap_or_default()).wrapping_add(number(operand));
    Some(sum.to_le_bytes().to_vec())
}

/// Deletes what is there, and sets what is not.
pub(crate) fn toggle(_: &[u8], value: Option<&[u8]>, operand: &[u8]) -> Option<Vec<u8>> {
    value.is_none().then(|| operand.to_vec())
}

/// The operator of that name.
pub(crate) fn merge(operator: &str, key: &[u8], value: Option<&[u8]>, operand: &[u8]) -> Option<Vec<u8>> {
    match operator {
        "append" => append(key, value, operand),
        "add" => add(key, value, operand),
        _ => toggle(key, value, operand),
    }
}
