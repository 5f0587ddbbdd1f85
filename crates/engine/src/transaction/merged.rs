//! A range of a bucket that its transaction has written to, from both ends.

use std::ops::Bound;

use crate::error::Result;
use crate::op::Entry;
use crate::transaction::bounds::Bounds;
use crate::transaction::bucket::Bucket;
use crate::transaction::cursor::Cursor;

type Item<'t> = (&'t [u8], Entry<'t>);

/// The entries of a range: those of the tree, and over them what is staged.
pub(super) struct Merged<'t> {
    bucket: Bucket<'t>,
    front: End<'t>,
    back: End<'t>,
}

/// One of the two ends: not begun, or a cursor and the key that was given last.
enum End<'t> {
    Fresh,
    At(Box<Cursor<'t>>, &'t [u8]),
}

impl<'t> Merged<'t> {
    pub(super) fn new(bucket: Bucket<'t>) -> Merged<'t> {
        Merged {
            bucket,
            front: End::Fresh,
            back: End::Fresh,
        }
    }

    /// The next entry from the front; `None` when there is none left, and it must not be asked again.
    pub(super) fn forward(&mut self, bounds: &Bounds) -> Result<Option<Item<'t>>> {
        let found = match &mut self.front {
            End::At(cursor, _) => cursor.next_item()?,
            End::Fresh => {
                let mut cursor = Box::new(Cursor::new(self.bucket));
                let mut found = match &bounds.start {
                    Bound::Unbounded => cursor.seek_item(b"")?,
                    Bound::Included(start) | Bound::Excluded(start) => cursor.seek_item(start)?,
                };
                if found.is_some_and(|(key, _)| !bounds.is_after_start(key)) {
                    found = cursor.next_item()?;
                }
                self.front = End::At(cursor, b"");
                found
            }
        };
        let met = |key: &[u8]| matches!(&self.back, End::At(_, back) if key >= *back);
        let found = found.filter(|(key, _)| bounds.is_before_end(key) && !met(key));
        if let (End::At(_, last), Some((key, _))) = (&mut self.front, found) {
            *last = key;
        }
        Ok(found)
    }

    /// The next entry from the back, likewise.
    pub(super) fn backward(&mut self, bounds: &Bounds) -> Result<Option<Item<'t>>> {
        let found = match &mut self.back {
            End::At(cursor, _) => cursor.prev_item()?,
            End::Fresh => {
                let mut cursor = Box::new(Cursor::new(self.bucket));
                let mut found = match &bounds.end {
                    Bound::Unbounded => cursor.last_item()?,
                    Bound::Included(end) | Bound::Excluded(end) => cursor.seek_item_for_prev(end)?,
                };
                if found.is_some_and(|(key, _)| !bounds.is_before_end(key)) {
                    found = cursor.prev_item()?;
                }
                self.back = End::At(cursor, b"");
                found
            }
        };
        let met = |key: &[u8]| matches!(&self.front, End::At(_, front) if key <= *front);
        let found = found.filter(|(key, _)| bounds.is_after_start(key) && !met(key));
        if let (End::At(_, last), Some((key, _))) = (&mut self.back, found) {
            *last = key;
        }
        Ok(found)
    }
}
