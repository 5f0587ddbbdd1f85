//! Changes a tree by a sorted batch, and counts what that does to it.

use super::merge::Merge;
use super::{PageWrite, Root, max_inline, max_key_len};
use crate::error::Result;
use crate::op::{Entry, Value};

/// What a change did to a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) root: Root,
    /// By how much the number of entries changed.
    pub(crate) len_delta: i64,
    /// By how much the number of large values changed.
    pub(crate) large_delta: i64,
}

/// A key and what it is set to; `None` deletes it.
pub(crate) type Change<'a> = (&'a [u8], Option<Entry<'a>>);

/// Where changes leave room in the leaves of a tree that they are the first of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Nowhere: keys that came in order go on behind the last one.
    AtTheEnd,
    /// In each leaf: keys that came in no order go on like that, and would split every leaf that is full.
    InEachLeaf,
}

/// Merges `changes`, strictly ascending by key, into the tree. `replaced` is shown each change together with the entry that the key had
/// before. Keys and values must keep to [`max_key_len`] and [`max_inline`].
///
/// Large values that nothing refers to any more are released. After an error the tree at `root` is as it was; the pages that were created or
/// released until then are the store's to roll back.
pub(crate) fn apply<'p, W, V>(
    pages: &mut W,
    root: Root,
    changes: impl IntoIterator<Item = Change<'p>>,
    replaced: V,
) -> Result<Applied>
where
    W: PageWrite<'p>,
    V: FnMut(&Change<'p>, Option<&Entry<'p>>),
{
    apply_with(pages, root, changes, Room::AtTheEnd, replaced)
}

/// The same, where the tree may be empty and it is known how its keys came.
pub(crate) fn apply_with<'p, W, V>(
    pages: &mut W,
    root: Root,
    changes: impl IntoIterator<Item = Change<'p>>,
    room: Room,
    replaced: V,
) -> Result<Applied>
where
    W: PageWrite<'p>,
    V: FnMut(&Change<'p>, Option<&Entry<'p>>),
{
    let tally = Tally {
        replaced,
        len_delta: 0,
        large_delta: 0,
    };
    Merge::new(pages, changes.into_iter(), tally).run(root, room)
}

/// Counts what the changes do.
pub(super) struct Tally<V> {
    replaced: V,
    len_delta: i64,
    large_delta: i64,
}

impl<V> Tally<V> {
    /// Takes account of one change.
    #[inline]
    pub(super) fn count<'p, W>(&mut self, pages: &mut W, change: &Change<'p>, old: Option<&Entry<'p>>)
    where
        W: PageWrite<'p>,
        V: FnMut(&Change<'p>, Option<&Entry<'p>>),
    {
        (self.replaced)(change, old);
        let large = |entry: Option<&Entry<'_>>| match entry.map(|e| e.value) {
            Some(Value::Large(large)) => Some(large),
            _ => None,
        };
        let (was, is) = (large(old), large(change.1.as_ref()));
        if let Some(was) = was
            && is.is_none_or(|is| is.first != was.first)
        {
            pages.release_large(was);
        }
        self.len_delta += i64::from(change.1.is_some()) - i64::from(old.is_some());
        self.large_delta += i64::from(is.is_some()) - i64::from(was.is_some());
    }

    pub(super) fn applied(&self, root: Root) -> Applied {
        Applied {
            root,
            len_delta: self.len_delta,
            large_delta: self.large_delta,
        }
    }
}

#[inline]
pub(super) fn check_limits<'p, W: PageWrite<'p>>(pages: &W, change: &Change<'_>) {
    let fits = |entry: Entry<'_>| match entry.value {
        Value::Inline(bytes) => bytes.len() <= max_inline(pages.page_size(), change.0.len()),
        Value::Large(_) => true,
    };
    debug_assert!(change.0.len() <= max_key_len(pages.page_size()) && change.1.is_none_or(fits));
}
