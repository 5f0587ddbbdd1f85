//! Going over all keys in no order.
//!
//! Lines are visited in the order of their numbers' bits read backwards. When the table doubles, the lines that a line becomes
//! follow each other in that order, so whatever the table does meanwhile, every line is visited once.

use std::collections::VecDeque;

use crate::error::{Error, Result, corrupt};
use crate::layout::at;
use crate::map::entry::Entry;
use crate::map::slot;
use crate::map::table::{CHAIN_MAX, LINK, SLOTS};
use crate::protocol::RETRIES;
use crate::protocol::line::Guard;
use crate::region::Shared;
use crate::session::Session;
use crate::sync::Ordering;
use crate::view::Moment;

/// All keys and their values; see [`Session::scan`].
#[derive(Debug)]
pub struct Scan<'a> {
    session: &'a Session,
    moment: Option<Moment>,
    /// The line to read next; `None` at the end.
    cursor: Option<u64>,
    ahead: VecDeque<Item>,
}

/// A key with all that belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    /// In milliseconds since 1970.
    #[cfg(feature = "persist")]
    pub(crate) expiry: Option<u64>,
}

impl Session {
    /// Goes over all keys and their values, in no order, while others write.
    ///
    /// Every key that is there from beginning to end comes exactly once; one that is put or removed meanwhile may come or not. For all keys of one
    /// instant scan a [view](Session::view).
    ///
    /// ```
    /// # use weald_hot::{Region, RegionOptions};
    /// # let region = Region::anonymous(&RegionOptions { capacity: 16 << 20, ..Default::default() })?;
    /// # let session = region.join("example")?;
    /// session.put(b"colour", b"green")?;
    /// for item in session.scan() {
    ///     let (key, value) = item?;
    ///     println!("{key:?} {value:?}");
    /// }
    /// # Ok::<(), weald_hot::Error>(())
    /// ```
    pub fn scan(&self) -> Scan<'_> {
        Scan::new(self, None)
    }
}

impl<'a> Scan<'a> {
    pub(crate) fn new(session: &'a Session, moment: Option<Moment>) -> Scan<'a> {
        Scan {
            session,
            moment,
            cursor: Some(0),
            ahead: VecDeque::new(),
        }
    }

    pub(crate) fn next_item(&mut self) -> Result<Option<Item>> {
        while self.ahead.is_empty()
            && let Some(cursor) = self.cursor
        {
            let shared = &self.session.shared;
            let _pin = self.session.pin();
            let (places, next) = shared.places_at(cursor)?;
            for place in places {
                let newest = Entry::load(shared, place)?;
                let entry = match self.moment {
                    Some(moment) => shared.entry_at(newest, moment)?,
                    None => shared.visible(newest),
                };
                self.ahead.extend(entry.map(|entry| Item {
                    key: entry.key(),
                    value: entry.value(),
                    #[cfg(feature = "persist")]
                    expiry: entry.expiry(),
                }));
            }
            self.cursor = next;
        }
        Ok(self.ahead.pop_front())
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.next_item();
        if result.is_err() {
            self.cursor = None;
        }
        result
            .map(|item| item.map(|item| (item.key, item.value)))
            .transpose()
    }
}

impl Shared {
    /// The places of the entries in the lines at a cursor, and the cursor of the next; `None` where there is none. The caller is pinned.
    pub(crate) fn places_at(&self, cursor: u64) -> Result<(Vec<u64>, Option<u64>)> {
        let mut places = Vec::new();
        for _ in 0..RETRIES {
            let Some(table) = self.table(at::TABLE)? else {
                return Ok((places, None));
            };
            let mask = table.lines() - 1;
            let index = cursor & mask;
            let mut is_read = self.places_in(table.line(index), &mut places)?;
            if !is_read
                && let Some(next) = self.table(at::TABLE_NEXT)?
                && next.log2 == table.log2 + 1
            {
                is_read = self.places_in(next.line(index), &mut places)?
                    && self.places_in(next.line(index + table.lines()), &mut places)?;
            }
            if is_read {
                let next = (cursor | !mask).reverse_bits().wrapping_add(1).reverse_bits();
                return Ok((places, (next != 0).then_some(next)));
            }
            places.clear();
        }
        Err(Error::Again("a table that grows faster than it is read"))
    }

    /// Appends the entries of a line and of those behind it. `false` if they are in another table.
    pub(crate) fn places_in(&self, head: u64, places: &mut Vec<u64>) -> Result<bool> {
        let line = self.map.line(head)?;
        let is_elsewhere = || Guard::load(&line[0]).is_elsewhere();
        if is_elsewhere() {
            return Ok(false);
        }
        let mut words = line;
        for _ in 0..CHAIN_MAX {
            let slots = words[1..=SLOTS].iter();
            places.extend(slots.filter_map(|word| slot::place(word.load(Ordering::Acquire))));
            match slot::place(words[LINK].load(Ordering::Acquire)) {
                Some(next) => words = self.map.line(next)?,
                None => return Ok(!is_elsewhere()),
            }
        }
        corrupt("a chain of lines that ends", head)
    }
}
