//! The merge of a batch of changes into the pages of a tree.
//!
//! Most changes leave the shape of a tree as it is: a leaf has room for what is put into it, and is not low after what is taken out. Such a leaf is
//! copied, and the branches above it are copied with other pointers. Where a leaf must be parted, joined with a neighbour or taken away, the *stream* begins: the
//! leaf's entries go to the [`Builder`], and so does, before them, all that is left of them in the branches above. What is right of it follows into the stream as whole
//! subtrees, whose own pages may have been copied as above.

use super::apply::{Applied, Change, Room, Tally, check_limits};
use super::branch::{self, Branch};
use super::builder::{Builder, separator_before};
use super::leaf::{self, Leaf, Part};
use super::page::HEADER;
use super::separator::Separator;
use super::{PageWrite, Root, raw};
use crate::error::Result;
use crate::ids::PagePtr;
use crate::op::{Entry, Value};
use std::cmp::Ordering;

pub(super) struct Merge<'w, 'p, W, I, V> {
    next: Option<Change<'p>>,
    /// What comes after that: its leaf is brought closer while that of the next change is worked on.
    after: Option<Change<'p>>,
    rest: I,
    builder: Builder<'w, 'p, W>,
    tally: Tally<V>,
    /// The branches from the root to where the merge is.
    frames: Vec<Frame<'p>>,
    /// Children that were copied, of all branches that are not streamed: places and pointers.
    copied: Vec<(usize, PagePtr)>,
    /// What the leaf at hand will hold.
    parts: Vec<Part<'p>>,
}

/// A branch on the way to where the merge is.
struct Frame<'p> {
    ptr: PagePtr,
    branch: Branch<'p>,
    level: u8,
    /// Before its first child.
    separator: Separator<'p>,
    /// The child that is worked on.
    at: usize,
    /// Where its children begin among those that were copied.
    copied_from: usize,
    /// How many children are in the stream; `None` as long as the branch can be copied.
    streamed: Option<usize>,
}

/// What has become of a subtree.
enum Merged {
    /// It has the shape that it had, and this root.
    InPlace(PagePtr),
    /// All of it went to the builder.
    Streamed,
}

impl<'w, 'p, W, I, V> Merge<'w, 'p, W, I, V>
where
    W: PageWrite<'p>,
    I: Iterator<Item = Change<'p>>,
    V: FnMut(&Change<'p>, Option<&Entry<'p>>),
{
    pub(super) fn new(pages: &'w mut W, mut changes: I, tally: Tally<V>) -> Self {
        Merge {
            next: changes.next(),
            after: changes.next(),
            rest: changes,
            builder: Builder::new(pages),
            tally,
            frames: Vec::new(),
            copied: Vec::new(),
            parts: Vec::new(),
        }
    }

    pub(super) fn run(mut self, root: Root, room: Room) -> Result<Applied> {
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
                if let Some(put) = self.put(&change) {
                    self.builder.push(put)?;
                }
            }
            let root = self.builder.finish()?;
            return Ok(self.tally.applied(root));
        }
        let merged = self.node(root.level, Separator::LOWEST, root.ptr, None)?;
        if self.next.is_some() {
            return Err(self
                .builder
                .pages
                .corrupt(root.ptr, "separators are out of order"));
        }
        let root = match merged {
            Merged::InPlace(ptr) => Root { ptr, ..root },
            Merged::Streamed => self.builder.finish()?,
        };
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
    fn put(&self, change: &Change<'p>) -> Option<Part<'p>> {
        check_limits(&*self.builder.pages, change);
        let (key, entry) = (change.0, change.1?);
        Some(Part::Put { key, entry })
    }

    /// Merges what comes before `end` into a subtree that holds at least one of the changes' keys' places.
    fn node(
        &mut self,
        level: u8,
        separator: Separator<'p>,
        ptr: PagePtr,
        end: Option<Separator<'p>>,
    ) -> Result<Merged> {
        let page = self.builder.pages.page(ptr, level)?;
        if level == 0 {
            raw::prefetch_all(page);
            return self.leaf(Leaf::new(page), separator, ptr, end);
        }
        let branch = Branch::new(page);
        let depth = self.frames.len();
        self.frames.push(Frame {
            ptr,
            branch,
            level,
            separator,
            at: 0,
            copied_from: self.copied.len(),
            streamed: None,
        });
        self.children(depth, end)?;
        let frame = self.frames.pop().expect("pushed above");
        if let Some(done) = frame.streamed {
            self.builder
                .pass_children(level, branch, separator, done, branch.count())?;
            return Ok(Merged::Streamed);
        }
        let copied = &self.copied[frame.copied_from..];
        if copied.is_empty() {
            return Ok(Merged::InPlace(ptr));
        }
        let pages = &mut *self.builder.pages;
        let copy = pages.create(level, |page| branch::fill_replacing(page, branch, copied))?;
        pages.release(ptr);
        self.copied.truncate(frame.copied_from);
        Ok(Merged::InPlace(copy))
    }

    /// Merges what comes before `end` into the children of the branch at `depth`.
    fn children(&mut self, depth: usize, end: Option<Separator<'p>>) -> Result<()> {
        let Frame {
            branch,
            level,
            separator,
            ..
        } = self.frames[depth];
        let mut done = 0;
        // The key of the change after the next, and where it goes.
        let mut ahead: Option<(&[u8], usize)> = None;
        while done < branch.count()
            && self.is_next_before(end)
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
            if let Some(streamed) = self.frames[depth].streamed {
                self.builder
                    .pass_children(level, branch, separator, streamed, index)?;
                self.frames[depth].streamed = Some(index);
            }
            self.frames[depth].at = index;
            let child = branch.child(index);
            let child_separator = separator_before(branch, separator, index);
            let child_end = match index + 1 < branch.count() {
                true => Some(branch.separator(index + 1)),
                false => end,
            };
            done = index + 1;
            match self.node(level - 1, child_separator, child, child_end)? {
                Merged::InPlace(ptr) if self.frames[depth].streamed.is_some() => {
                    self.builder.pass(level - 1, child_separator, ptr)?;
                    self.frames[depth].streamed = Some(done);
                }
                Merged::InPlace(ptr) if ptr != child => self.copied.push((index, ptr)),
                Merged::InPlace(_) => {}
                Merged::Streamed => self.frames[depth].streamed = Some(done),
            }
        }
        Ok(())
    }

    fn leaf(
        &mut self,
        leaf: Leaf<'p>,
        separator: Separator<'p>,
        ptr: PagePtr,
        end: Option<Separator<'p>>,
    ) -> Result<Merged> {
        let capacity = self.builder.pages.page_size() - HEADER;
        let mut gathered = Gathered::new(leaf);
        let mut streams = self.follows_pending();
        self.parts.clear();
        while let Some(change) = self.next_before(end) {
            let (at, old) = match leaf.search(change.0) {
                Ok(at) => (at.max(gathered.done), Some(leaf.entry(at))),
                Err(at) => (at.max(gathered.done), None),
            };
            self.tally.count(self.builder.pages, &change, old.as_ref());
            if old.is_none() && change.1.is_none() {
                continue;
            }
            let put = self.put(&change);
            gathered.change(&mut self.parts, at, old.as_ref(), put);
            // However many changes there are, no more of them are gathered than make it plain that the leaf overflows.
            if streams || gathered.bytes > 2 * capacity {
                self.stream_leaf(&mut gathered, separator, ptr)?;
                streams = true;
            }
        }
        if !gathered.touched {
            return Ok(Merged::InPlace(ptr));
        }
        gathered.rest(&mut self.parts);
        let before = leaf.bytes(0, leaf.count());
        if streams || gathered.bytes > capacity || is_thin(gathered.bytes, before, capacity) {
            self.stream_leaf(&mut gathered, separator, ptr)?;
            return Ok(Merged::Streamed);
        }
        let (pages, parts) = (&mut *self.builder.pages, &self.parts[..]);
        let copy = pages.create(0, |page| match gathered.moves {
            true => leaf::fill(page, parts),
            false => leaf::fill_replacing(page, leaf, parts),
        })?;
        pages.release(ptr);
        Ok(Merged::InPlace(copy))
    }

    /// Whether the builder has entries that the leaf at hand comes right after: it may join them, which packs what many changes fall on.
    fn follows_pending(&self) -> bool {
        self.builder.has_entries()
            && self
                .frames
                .iter()
                .all(|frame| frame.at == frame.streamed.unwrap_or(0))
    }

    /// Gives what was gathered of a leaf to the builder.
    fn stream_leaf(
        &mut self,
        gathered: &mut Gathered<'p>,
        separator: Separator<'p>,
        ptr: PagePtr,
    ) -> Result<()> {
        if !gathered.streams {
            gathered.streams = true;
            self.stream_frames()?;
            self.builder.begin_leaf(separator);
            self.builder.pages.release(ptr);
        }
        for part in self.parts.drain(..) {
            self.builder.push(part)?;
        }
        Ok(())
    }

    /// Gives all that is left of where the merge is to the builder, from the root down.
    fn stream_frames(&mut self) -> Result<()> {
        let Some(first) = self.frames.iter().position(|frame| frame.streamed.is_none()) else {
            return Ok(());
        };
        let copied_from = self.frames[first].copied_from;
        for depth in first..self.frames.len() {
            let copied_to = self
                .frames
                .get(depth + 1)
                .map_or(self.copied.len(), |inner| inner.copied_from);
            let frame = &mut self.frames[depth];
            let (level, branch, separator) = (frame.level, frame.branch, frame.separator);
            self.builder.pages.release(frame.ptr);
            let mut done = 0;
            for &(index, ptr) in &self.copied[frame.copied_from..copied_to] {
                self.builder
                    .pass_children(level, branch, separator, done, index)?;
                self.builder
                    .pass(level - 1, separator_before(branch, separator, index), ptr)?;
                done = index + 1;
            }
            self.builder
                .pass_children(level, branch, separator, done, frame.at)?;
            frame.streamed = Some(frame.at);
        }
        self.copied.truncate(copied_from);
        Ok(())
    }
}

/// Whether a leaf should look for others to be packed with: when it is low, and when much of it went at once, as then much went from its
/// neighbours too, more often than not.
fn is_thin(bytes: usize, before: usize, capacity: usize) -> bool {
    let shrinks = bytes < before;
    let thins = before - bytes.min(before) > before / 8 && bytes < capacity / 4 * 3;
    bytes == 0 || shrinks && bytes < capacity / 4 || thins
}

/// A leaf that changes fall on.
struct Gathered<'p> {
    leaf: Leaf<'p>,
    /// The entries before this one are among the parts, or replaced.
    done: usize,
    /// Bytes of all parts so far.
    bytes: usize,
    touched: bool,
    /// Whether entries lie elsewhere in the page afterwards.
    moves: bool,
    /// Whether parts have gone to the builder.
    streams: bool,
}

impl<'p> Gathered<'p> {
    fn new(leaf: Leaf<'p>) -> Gathered<'p> {
        Gathered {
            leaf,
            done: 0,
            bytes: 0,
            touched: false,
            moves: false,
            streams: false,
        }
    }

    /// What stands before `at`, and what is put there in place of `old`.
    #[inline]
    fn change(
        &mut self,
        parts: &mut Vec<Part<'p>>,
        at: usize,
        old: Option<&Entry<'p>>,
        put: Option<Part<'p>>,
    ) {
        self.touched = true;
        self.run(parts, at);
        let bytes = put.as_ref().map_or(0, Part::bytes);
        self.bytes += bytes;
        self.moves |= match (old, put) {
            (Some(old), Some(Part::Put { entry, .. })) => {
                bytes != self.leaf.bytes(at, (at + 1).min(self.leaf.count()))
                    || entry.expires.is_some() != old.expires.is_some()
                    || matches!(entry.value, Value::Large(_)) != matches!(old.value, Value::Large(_))
            }
            _ => true,
        };
        parts.extend(put);
        self.done = (at + usize::from(old.is_some())).min(self.leaf.count());
    }

    /// All that stands behind the last change.
    fn rest(&mut self, parts: &mut Vec<Part<'p>>) {
        self.run(parts, self.leaf.count());
    }

    fn run(&mut self, parts: &mut Vec<Part<'p>>, to: usize) {
        let (leaf, from) = (self.leaf, self.done);
        if from < to {
            self.bytes += leaf.bytes(from, to);
            parts.push(Part::Run { leaf, from, to });
        }
    }
}
