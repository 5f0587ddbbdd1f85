//! How buckets are named: one tree maps (parent, name) to the tree of the bucket, so that a bucket's depth costs nothing, and renaming one moves nothing.

use crate::error::{Error, Result};
use crate::ids::TreeId;
use crate::op::Value;
use crate::transaction::bucket::{Bucket, View};

/// The longest name of a bucket.
pub(crate) const NAME_MAX: usize = 255;

/// The attribute that holds the sequence number.
const SEQUENCE: u8 = 1;

/// The key of the bucket `name` in `parent`.
pub(crate) fn name_key(parent: TreeId, name: &[u8]) -> Result<Vec<u8>> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(Error::InvalidBucketName { len: name.len() });
    }
    Ok([&parent.0.to_be_bytes(), name].concat())
}

/// The key of the sequence number of a bucket.
pub(crate) fn sequence_key(tree: TreeId) -> Vec<u8> {
    [&tree.0.to_be_bytes()[..], &[SEQUENCE]].concat()
}

fn names<'t>(view: &View<'t>) -> Bucket<'t> {
    Bucket {
        view: *view,
        tree: TreeId::NAMES,
        record: view.roots.fixed[TreeId::NAMES.0 as usize],
    }
}

fn attributes<'t>(view: &View<'t>) -> Bucket<'t> {
    Bucket {
        view: *view,
        tree: TreeId::ATTRIBUTES,
        record: view.roots.fixed[TreeId::ATTRIBUTES.0 as usize],
    }
}

fn lookup(view: &View<'_>, parent: TreeId, name: &[u8]) -> Result<Option<TreeId>> {
    let key = name_key(parent, name)?;
    names(view)
        .entry(&key)?
        .map(|entry| tree_id(view, &entry.value))
        .transpose()
}

fn tree_id(view: &View<'_>, value: &Value<'_>) -> Result<TreeId> {
    let id = match value {
        Value::Inline(id) => (*id).try_into().ok().map(u64::from_le_bytes),
        Value::Large(_) => None,
    };
    match id {
        Some(id) if id >= TreeId::FIRST_USER => Ok(TreeId(id)),
        _ => Err(Error::corrupt(
            &view.core.path,
            None,
            "the name of a bucket leads to no bucket",
        )),
    }
}

/// The tree of the bucket `name` in `parent`.
pub(crate) fn find(view: &View<'_>, parent: TreeId, name: &[u8]) -> Result<TreeId> {
    lookup(view, parent, name)?.ok_or_else(|| Error::BucketNotFound { name: name.to_vec() })
}

pub(crate) fn exists(view: &View<'_>, parent: TreeId, name: &[u8]) -> Result<bool> {
    Ok(lookup(view, parent, name)?.is_some())
}

/// The names of the buckets in `parent`.
pub(crate) fn list(view: &View<'_>, parent: TreeId) -> Result<Vec<Vec<u8>>> {
    names(view)
        .prefix(&parent.0.to_be_bytes())
        .map(|pair| pair.map(|(key, _)| key[8..].to_vec()))
        .collect()
}

/// The keys and trees of the buckets in `parent`.
pub(crate) fn children(view: &View<'_>, parent: TreeId) -> Result<Vec<(Vec<u8>, TreeId)>> {
    names(view)
        .prefix(&parent.0.to_be_bytes())
        .map(|pair| {
            let (key, value) = pair?;
            Ok((key.to_vec(), tree_id(view, &Value::Inline(value))?))
        })
        .collect()
}

pub(crate) fn sequence(view: &View<'_>, tree: TreeId) -> Result<u64> {
    match attributes(view).get_ref(&sequence_key(tree))? {
        None => Ok(0),
        Some(value) => value.try_into().map(u64::from_le_bytes).map_err(|_| {
            Error::corrupt(
                &view.core.path,
                None,
                "the sequence number of a bucket is no number",
            )
        }),
    }
}
