//! Merges a sorted batch of changes into a tree.

use super::branch::{self, Branch};
use super::builder::{Builder, separator_before};
use super::leaf::{self, Leaf, Part};
use super::page::HEADER;
use super::separator::Separator;
use super::{MAX_HEIGHT, PageWrite, Root, max_inline, max_key_len, raw};
use crate::error::Result;
use crate::ids::PagePtr;
use crate::op::{Entry, Value};
use std::cmp::Ordering;

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
    let mut rest = changes.into_iter();
    let mut tally = Tally {
        replaced,
        len_delta: 0,
        large_delta: 0,
    };
    let mut next = rest.next();
    if let (Some(only), false) = (next, root.is_empty()) {
        let second = rest.next();
        if second.is_none()
            && let Some(root) = replace_one(pages, root, &only, &mut tally)?
        {
            return Ok(tally.applied(root));
        }
        if second.is_some() {
            let merge = Merge {
                next: Some(only),
                after: second,
                rest,
                builder: Builder::new(pages),
                tally,
            };
            return merge.run(root, room);
        }
        next = Some(only);
    }
    let merge = Merge {
        next,
        after: rest.next(),
        rest,
        builder: Builder::new(pages),
        tally,
    };
    merge.run(root, room)
}

struct Tally<V> {
    replaced: V,
    len_delta: i64,
    large_delta: i64,
}

impl<V> Tally<V> {
    /// Takes account of one change.
    #[inline]
    fn count<'p, W>(&mut self, pages: &mut W, change: &Change<'p>, old: Option<&Entry<'p>>)
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

    fn applied(&self, root: Root) -> Applied {
        Applied {
            root,
            len_delta: self.len_delta,
            large_delta: self.large_delta,
        }
    }
}

/// The commonest change by far: one key, in a leaf that neither overflows nor runs low by it. Only the pages on the way to it are
/// copied. `None` if it takes more than that; nothing was done then.
fn replace_one<'p, W, V>(
    pages: &mut W,
    root: Root,
    change: &Change<'p>,
    tally: &mut Tally<V>,
) -> Result<Option<Root>>
where
    W: PageWrite<'p>,
    V: FnMut(&Change<'p>, Option<&Entry<'p>>),
{
    let key = change.0;
    let mut path = [None; MAX_HEIGHT];
    let mut ptr = root.ptr;
    for level in (1..=root.level).rev() {
        let branch = Branch::new(pages.page(ptr, level)?);
        let index = branch.search(key);
        let Some(step) = path.get_mut(usize::from(level)) else {
            return Err(pages.corrupt(ptr, "the tree is too high"));
        };
        *step = Some((ptr, branch, index));
        ptr = branch.child(index);
    }

    let page = pages.page(ptr, 0)?;
    raw::prefetch_all(page);
    let leaf = Leaf::new(page);
    let (at, old) = match leaf.search(key) {
        Ok(at) => (at, Some(leaf.entry(at))),
        Err(at) => (at, None),
    };
    if old.is_none() && change.1.is_none() {
        tally.count(pages, change, None);
        return Ok(Some(root));
    }
    let after = at + usize::from(old.is_some());
    let before_bytes = leaf.bytes(0, leaf.count());
    let put_bytes = change.1.map_or(0, |entry| leaf::put_bytes(key, &entry));
    let bytes = before_bytes - leaf.bytes(at, after) + put_bytes;
    let capacity = pages.page_size() - HEADER;
    let is_low = bytes < capacity / 4 && bytes < before_bytes && root.level > 0;
    if bytes > capacity || bytes == 0 || is_low {
        return Ok(None);
    }

    tally.count(pages, change, old.as_ref());
    check_limits(pages, change);
    let mut parts = [Part::Run {
        leaf,
        from: 0,
        to: at,
    }; 3];
    let mut count = usize::from(at > 0);
    if let Some(entry) = change.1 {
        parts[count] = Part::Put { key, entry };
        count += 1;
    }
    if after < leaf.count() {
        parts[count] = Part::Run {
            leaf,
            from: after,
            to: leaf.count(),
        };
        count += 1;
    }
    let mut child = pages.create(0, |page| leaf::fill(page, &parts[..count]))?;
    pages.release(ptr);
    for level in 1..=root.level {
        let (ptr, branch, index) = path[usize::from(level)].expect("set on the way down");
        child = pages.create(level, |page| branch::fill_replacing(page, branch, index, child))?;
        pages.release(ptr);
    }
    Ok(Some(Root {
        ptr: child,
        level: root.level,
    }))
}

#[inline]
fn check_limits<'p, W: PageWrite<'p>>(pages: &W, change: &Change<'_>) {
    let fits = |entry: Entry<'_>| match entry.value {
        Value::Inline(bytes) => bytes.len() <= max_inline(pages.page_size(), change.0.len()),
        Value::Large(_) => true,
    };
    debug_assert!(change.0.len() <= max_key_len(pages.page_size()) && change.1.is_none_or(fits));
}

struct Merge<'w, 'p, W, I, V> {
    next: Option<Change<'p>>,
    /// What comes after that: its leaf is brought closer while that of the next change is worked on.
    after: Option<Change<'p>>,
    rest: I,
    builder: Builder<'w, 'p, W>,
    tally: Tally<V>,
}

impl<'p, W, I, V> Merge<'_, 'p, W, I, V>
where
    W: PageWrite<'p>,
    I: Iterator<Item = Change<'p>>,
    V: FnMut(&Change<'p>, Option<&Entry<'p>>),
{
    fn run(mut self, root: Root, room: Room) -> Result<Applied> {
        if self.next.is_none() {
            return Ok(self.tally.applied(root));
        }
        if root.is_empty() {
            if room == Room::InEachLeaf {
                self.builder.leave_room();
            }
            self.builder.begin_leaf(Separator::LOWEST);
            while let Some(change) = self.next_before(None) {
                self.tally.count(self.builder.pages, &change, None);
                self.put(&change)?;
            }
        } else {
            self.node(root.level, Separator::LOWEST, root.ptr, None)?;
            if self.next.is_some() {
                return Err(self
                    .builder
                    .pages
                    .corrupt(root.ptr, "separators are out of order"));
            }
        }
        let root = self.builder.finish()?;
        Ok(self.tally.applied(root))
    }

    fn is_next_before(&self, end: Option<Separator<'p>>) -> bool {
        match (&self.next, end) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some((key, _)), Some(end)) => end.cmp_key(key) == Ordering::Greater,
        }
    }

    #[inline]
    fn next_before(&mut self, end: Option<Separator<'p>>) -> Option<Change<'p>> {
        if !self.is_next_before(end) {
            return None;
        }
        let change = self.next.take()?;
        self.next = self.after.take();
        self.after = self.rest.next();
        debug_assert!(
            self.next.is_none_or(|next| next.0 > change.0),
            "the changes ascend"
        );
        Some(change)
    }

    #[inline]
    fn put(&mut self, change: &Change<'p>) -> Result<()> {
        check_limits(self.builder.pages, change);
        match change.1 {
            Some(entry) => self.builder.push_put(change.0, entry),
            None => Ok(()),
        }
    }

    /// Merges what comes before `end` into a subtree that holds at least one of the changes' keys' places.
    fn node(
        &mut self,
        level: u8,
        separator: Separator<'p>,
        ptr: PagePtr,
        end: Option<Separator<'p>>,
    ) -> Result<()> {
        let page = self.builder.pages.page(ptr, level)?;
        if level == 0 {
            raw::prefetch_all(page);
            return self.leaf(Leaf::new(page), separator, ptr, end);
        }
        self.builder.pages.release(ptr);
        let branch = Branch::new(page);
        let mut done = 0;
        // The key of the change after the next, and where it goes.
        let mut ahead: Option<(&[u8], usize)> = None;
        while self.is_next_before(end)
            && let Some((key, _)) = self.next
        {
            let found = match ahead {
                Some((known, index)) if std::ptr::eq(known, key) => index,
                _ => branch.search(key),
            };
            // Never back, even if a damaged page says so.
            let index = found.max(done);
            if level == 1
                && let Some((after, _)) = self.after
            {
                let of_after = branch.search(after);
                ahead = Some((after, of_after));
                if of_after > index {
                    self.builder.pages.prefetch_all(branch.child(of_after));
                }
            }
            self.builder
                .pass_children(level, branch, separator, done, index)?;
            let child_end = match index + 1 < branch.count() {
                true => Some(branch.separator(index + 1)),
                false => end,
            };
            let child_separator = separator_before(branch, separator, index);
            self.node(level - 1, child_separator, branch.child(index), child_end)?;
            done = index + 1;
            if done == branch.count() {
                break;
            }
        }
        self.builder
            .pass_children(level, branch, separator, done, branch.count())
    }

    fn leaf(
        &mut self,
        leaf: Leaf<'p>,
        separator: Separator<'p>,
        ptr: PagePtr,
        end: Option<Separator<'p>>,
    ) -> Result<()> {
        let mut done = 0;
        let mut touched = false;
        while let Some(change) = self.next_before(end) {
            let (at, old) = match leaf.search(change.0) {
                Ok(at) => (at.max(done), Some(leaf.entry(at))),
                Err(at) => (at.max(done), None),
            };
            self.tally.count(self.builder.pages, &change, old.as_ref());
            if old.is_none() && change.1.is_none() {
                continue;
            }
            if !touched {
                touched = true;
                self.builder.begin_leaf(separator);
                self.builder.pages.release(ptr);
            }
            self.builder.push_run(leaf, done, at)?;
            self.put(&change)?;
            done = (at + usize::from(old.is_some())).min(leaf.count());
        }
        if touched {
            self.builder.push_run(leaf, done, leaf.count())
        } else {
            self.builder.pass(0, separator, ptr)
        }
    }
}
