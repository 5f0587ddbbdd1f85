//! A place in a bucket: the tree's cursor, and over it that of the stage.

use std::cmp::Ordering;

use crate::error::Result;
use crate::op::Entry;
use crate::stage::{StageCursor, Staged};
use crate::store::Snapshot;
use crate::transaction::Pair;
use crate::transaction::bucket::Bucket;
use crate::tree;

type Item<'t> = (&'t [u8], Entry<'t>);
type StagedItem<'t> = (&'t [u8], Staged<'t>);

/// A cursor over a bucket: on a pair, before the first one (where it begins), or after the last one.
///
/// Every move gives the pair that the cursor is on after it. In an [`OptimisticTx`](crate::OptimisticTx) a cursor counts as having read the whole bucket: ranges
/// and iterators are more exact.
///
/// ```
/// # use weald_engine::{Database, Readable, Writable};
/// # let db = Database::in_memory()?;
/// # let mut tx = db.write()?;
/// # for key in ["a", "c", "e"] { tx.put(key.as_bytes(), b"")?; }
/// # tx.commit()?;
/// let tx = db.read()?;
/// let mut cursor = tx.cursor();
/// assert_eq!(cursor.seek(b"b")?.map(|(key, _)| key), Some(&b"c"[..]));
/// assert_eq!(cursor.next()?.map(|(key, _)| key), Some(&b"e"[..]));
/// assert_eq!(cursor.prev()?.map(|(key, _)| key), Some(&b"c"[..]));
/// # Ok::<(), weald_engine::Error>(())
/// ```
pub struct Cursor<'t> {
    bucket: Bucket<'t>,
    base: tree::Cursor<'t, Snapshot<'t>>,
    /// None where nothing is staged: then the tree's cursor is on the place itself.
    staged: Option<StageCursor<'t>>,
    /// Whether staged deletes of ranges may hide what the tree has.
    hides: bool,
    place: Place<'t>,
    facing: Way,
}

#[derive(Clone, Copy)]
enum Place<'t> {
    Before,
    On(Item<'t>),
    After,
}

/// In which direction both cursors, where there are two, stand past the place: on the next one to be looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Forward,
    Backward,
}

impl<'t> Cursor<'t> {
    pub(crate) fn new(bucket: Bucket<'t>) -> Cursor<'t> {
        let stage = bucket.view.stage.filter(|_| !bucket.is_untouched());
        Cursor {
            base: tree::Cursor::new(bucket.view.pages, bucket.record.root),
            staged: stage.map(|stage| stage.cursor(bucket.tree)),
            hides: stage.is_some_and(|stage| stage.hides_any(bucket.tree)),
            bucket,
            place: Place::Before,
            facing: Way::Forward,
        }
    }

    /// Goes to the first pair whose key is not less than `key`.
    pub fn seek(&mut self, key: &[u8]) -> Result<Option<Pair<'t>>> {
        let item = self.seek_item(key)?;
        self.pair(item)
    }

    /// Goes to the last pair whose key is not greater than `key`.
    pub fn seek_for_prev(&mut self, key: &[u8]) -> Result<Option<Pair<'t>>> {
        let item = self.seek_item_for_prev(key)?;
        self.pair(item)
    }

    /// Goes to the first pair.
    pub fn first(&mut self) -> Result<Option<Pair<'t>>> {
        let item = self.seek_item(b"")?;
        self.pair(item)
    }

    /// Goes to the last pair.
    pub fn last(&mut self) -> Result<Option<Pair<'t>>> {
        let item = self.last_item()?;
        self.pair(item)
    }

    /// Goes to the next pair; to the first one from before it.
    #[expect(
        clippy::should_implement_trait,
        reason = "a cursor moves both ways and can fail"
    )]
    pub fn next(&mut self) -> Result<Option<Pair<'t>>> {
        let item = self.next_item()?;
        self.pair(item)
    }

    /// Goes to the pair before; to the last one from after it.
    pub fn prev(&mut self) -> Result<Option<Pair<'t>>> {
        let item = self.prev_item()?;
        self.pair(item)
    }

    /// The pair that the cursor is on.
    pub fn current(&self) -> Result<Option<Pair<'t>>> {
        match self.place {
            Place::On(item) => self.pair(Some(item)),
            Place::Before | Place::After => Ok(None),
        }
    }

    pub(crate) fn seek_item(&mut self, key: &[u8]) -> Result<Option<Item<'t>>> {
        let base = self.base.seek(key)?;
        match &mut self.staged {
            None => self.settle_plain(base, Way::Forward),
            Some(staged) => {
                let staged = staged.seek(key);
                self.settle(base, staged, Way::Forward)
            }
        }
    }

    pub(crate) fn seek_item_for_prev(&mut self, key: &[u8]) -> Result<Option<Item<'t>>> {
        let base = self.base.seek_for_prev(key)?;
        match &mut self.staged {
            None => self.settle_plain(base, Way::Backward),
            Some(staged) => {
                let staged = staged.seek_for_prev(key);
                self.settle(base, staged, Way::Backward)
            }
        }
    }

    pub(crate) fn last_item(&mut self) -> Result<Option<Item<'t>>> {
        let base = self.base.last()?;
        match &mut self.staged {
            None => self.settle_plain(base, Way::Backward),
            Some(staged) => {
                let staged = staged.last();
                self.settle(base, staged, Way::Backward)
            }
        }
    }

    pub(crate) fn next_item(&mut self) -> Result<Option<Item<'t>>> {
        match (self.place, self.facing) {
            (Place::Before, _) => self.seek_item(b""),
            (Place::After, _) => Ok(None),
            (Place::On(_), _) if self.staged.is_none() => {
                let base = self.base.next()?;
                self.settle_plain(base, Way::Forward)
            }
            // Both stand on the next one already.
            (Place::On(_), Way::Forward) => {
                let staged = self.staged.as_ref().and_then(StageCursor::current);
                self.settle(self.base.current(), staged, Way::Forward)
            }
            (Place::On((key, _)), Way::Backward) => {
                let base = past(self.base.seek(key)?, key, || self.base.next())?;
                let staged = match &mut self.staged {
                    Some(cursor) => past_staged(cursor.seek(key), key, || cursor.next()),
                    None => None,
                };
                self.settle(base, staged, Way::Forward)
            }
        }
    }

    pub(crate) fn prev_item(&mut self) -> Result<Option<Item<'t>>> {
        match (self.place, self.facing) {
            (Place::Before, _) => Ok(None),
            (Place::After, _) => self.last_item(),
            (Place::On(_), _) if self.staged.is_none() => {
                let base = self.base.prev()?;
                self.settle_plain(base, Way::Backward)
            }
            (Place::On(_), Way::Backward) => {
                let staged = self.staged.as_ref().and_then(StageCursor::current);
                self.settle(self.base.current(), staged, Way::Backward)
            }
            (Place::On((key, _)), Way::Forward) => {
                let base = past(self.base.seek_for_prev(key)?, key, || self.base.prev())?;
                let staged = match &mut self.staged {
                    Some(cursor) => past_staged(cursor.seek_for_prev(key), key, || cursor.prev()),
                    None => None,
                };
                self.settle(base, staged, Way::Backward)
            }
        }
    }

    /// Finds the nearest visible pair from where the tree's cursor stands, and stays on it.
    fn settle_plain(&mut self, mut base: Option<Item<'t>>, way: Way) -> Result<Option<Item<'t>>> {
        let view = self.bucket.view;
        while base.is_some_and(|(_, entry)| !view.is_visible(&entry)) {
            base = self.step_base(way)?;
        }
        self.place = match (base, way) {
            (Some(item), _) => Place::On(item),
            (None, Way::Forward) => Place::After,
            (None, Way::Backward) => Place::Before,
        };
        view.check_mapping()?;
        Ok(base)
    }

    /// Finds the nearest visible pair from where both cursors stand, and moves them past it.
    fn settle(
        &mut self,
        mut base: Option<Item<'t>>,
        mut staged: Option<StagedItem<'t>>,
        way: Way,
    ) -> Result<Option<Item<'t>>> {
        let view = self.bucket.view;
        self.facing = way;
        loop {
            let nearer = match (&base, &staged) {
                (None, None) => {
                    self.place = if way == Way::Forward {
                        Place::After
                    } else {
                        Place::Before
                    };
                    view.check_mapping()?;
                    return Ok(None);
                }
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(b), Some(s)) if way == Way::Forward => b.0.cmp(s.0),
                (Some(b), Some(s)) => s.0.cmp(b.0),
            };
            let below = if nearer == Ordering::Greater { None } else { base };
            let above = if nearer == Ordering::Less {
                None
            } else {
                staged.clone()
            };
            if nearer != Ordering::Greater {
                base = self.step_base(way)?;
            }
            if nearer != Ordering::Less {
                staged = self.step_staged(way);
            }
            let item = match above {
                None => below.filter(|(key, _)| !self.is_hidden(key)),
                Some((key, staged)) => view
                    .resolve(key, &staged, || Ok(below.map(|(_, entry)| entry)))?
                    .map(|entry| (key, entry)),
            };
            if let Some(item) = item.filter(|(_, entry)| view.is_visible(entry)) {
                self.place = Place::On(item);
                view.check_mapping()?;
                return Ok(Some(item));
            }
        }
    }

    fn is_hidden(&self, key: &[u8]) -> bool {
        self.hides
            && self
                .bucket
                .view
                .stage
                .is_some_and(|stage| stage.hides(self.bucket.tree, key))
    }

    fn step_base(&mut self, way: Way) -> Result<Option<Item<'t>>> {
        if way == Way::Forward {
            self.base.next()
        } else {
            self.base.prev()
        }
    }

    fn step_staged(&mut self, way: Way) -> Option<StagedItem<'t>> {
        let cursor = self.staged.as_mut()?;
        if way == Way::Forward {
            cursor.next()
        } else {
            cursor.prev()
        }
    }

    fn pair(&self, item: Option<Item<'t>>) -> Result<Option<Pair<'t>>> {
        match item {
            Some((key, entry)) => Ok(Some((key, self.bucket.view.value(&entry)?))),
            None => Ok(None),
        }
    }
}

/// What a seek found, or the next one where it found `key` itself.
fn past<'t>(
    found: Option<Item<'t>>,
    key: &[u8],
    step: impl FnOnce() -> Result<Option<Item<'t>>>,
) -> Result<Option<Item<'t>>> {
    if found.is_some_and(|(at, _)| at == key) {
        step()
    } else {
        Ok(found)
    }
}

fn past_staged<'t>(
    found: Option<StagedItem<'t>>,
    key: &[u8],
    step: impl FnOnce() -> Option<StagedItem<'t>>,
) -> Option<StagedItem<'t>> {
    if found.as_ref().is_some_and(|(at, _)| *at == key) {
        step()
    } else {
        found
    }
}
