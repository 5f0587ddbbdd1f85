//! Lists: elements at consecutive indexes, so that both ends and any place are found at once. An element that comes or goes in between moves those on
//! the shorter side.

use crate::keyspace::layout::{self, PREFIX_LEN, number};
use crate::keyspace::packed::{self, PACKED_MAX, Packed};
use crate::keyspace::record::{Body, Entry, Record, Spread, Value, damaged};
use crate::keyspace::{Keyspace, Kind, Result};

/// How many elements are moved at a time.
const BATCH: u64 = 1024;

/// Which elements of a list, from its head on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) start: u64,
    /// Not included.
    pub(crate) end: u64,
}

impl Slice {
    /// What `start` and `stop` mean for `len` elements, where both are included and negative ones count from the end.
    pub(crate) fn of(start: i64, stop: i64, len: u64) -> Slice {
        let len = len as i64;
        let start = if start < 0 {
            start.saturating_add(len).max(0)
        } else {
            start
        };
        let stop = if stop < 0 {
            stop.saturating_add(len)
        } else {
            stop.min(len - 1)
        };
        if start > stop || start >= len {
            return Slice { start: 0, end: 0 };
        }
        Slice {
            start: start as u64,
            end: stop as u64 + 1,
        }
    }

    pub(crate) fn len(self) -> u64 {
        self.end - self.start
    }
}

impl Keyspace<'_> {
    /// Whether Redis would call it a quicklist.
    pub(super) fn is_quicklist(&self, record: &Record<'_>) -> bool {
        let (count, bytes) = match record.body {
            Body::Spread(spread) => (spread.count, spread.bytes),
            Body::Packed(packed) => (Packed(packed).count() as u64, packed.len() as u64),
            Body::String(_) => return false,
        };
        match self.encodings.list_size {
            size if size >= 0 => count > size as u64,
            // What a listpack needs beside the elements is about two bytes each.
            size => bytes + 2 * count > 4096 << (-size - 1).clamp(0, 4),
        }
    }

    /// The element at a place.
    pub(crate) fn element<'a>(&'a self, db: usize, record: &Record<'a>, at: u64) -> Result<Option<&'a [u8]>> {
        match record.body {
            Body::Packed(packed) => Ok(Packed(packed).nth(at as usize)),
            Body::Spread(spread) if at < spread.count => {
                let key = layout::index(spread.id, spread.head + at as i64);
                self.item(db, &key)?.map(Some).ok_or_else(damaged)
            }
            _ => Ok(None),
        }
    }

    /// Gives `visit` the elements of a slice in turn, from its end on if `reverse`; until it says no.
    pub(crate) fn each_element<'a>(
        &'a self,
        db: usize,
        record: &Record<'a>,
        slice: Slice,
        reverse: bool,
        mut visit: impl FnMut(u64, &'a [u8]) -> bool,
    ) -> Result<()> {
        let spread = match record.body {
            Body::String(_) => return Ok(()),
            Body::Packed(packed) => {
                let all = Packed(packed).enumerate();
                let chosen = all.skip(slice.start as usize).take(slice.len() as usize);
                if reverse {
                    let chosen: Vec<_> = chosen.collect();
                    let _ = chosen
                        .into_iter()
                        .rev()
                        .all(|(at, element)| visit(at as u64, element));
                } else {
                    let _ = { chosen }.all(|(at, element)| visit(at as u64, element));
                }
                return Ok(());
            }
            Body::Spread(spread) => spread,
        };
        let start = layout::index(spread.id, spread.head + slice.start as i64);
        let end = layout::index(spread.id, spread.head + slice.end as i64);
        let mut items = self.items(db, &start, &end)?;
        while let Some(pair) = if reverse { items.next_back() } else { items.next() } {
            let (key, element) = pair?;
            let index = number(key, PREFIX_LEN).ok_or_else(damaged)? ^ 1 << 63;
            if !visit((index as i64 - spread.head) as u64, element) {
                break;
            }
        }
        Ok(())
    }

    /// Adds an element at an end.
    pub(crate) fn push_element(&mut self, entry: &mut Entry, left: bool, element: &[u8]) -> Result<()> {
        debug_assert!(entry.kind == Kind::List, "only lists have ends");
        match &mut entry.value {
            Value::Packed(packed) => {
                if packed.len() + packed::packed_len(element) > PACKED_MAX {
                    let packed = self.unpack(entry)?;
                    for element in Packed(&packed) {
                        self.push_element(entry, false, element)?;
                    }
                    return self.push_element(entry, left, element);
                }
                if left {
                    let first = packed::pack([element]);
                    packed.splice(..0, first);
                } else {
                    packed::push(packed, element);
                }
                Ok(())
            }
            Value::Spread(spread) => {
                if left {
                    spread.head -= 1;
                }
                spread.count += 1;
                spread.bytes += element.len() as u64;
                let at = if left {
                    spread.head
                } else {
                    spread.head + spread.count as i64 - 1
                };
                let key = layout::index(spread.id, at);
                self.put_item(entry.db, &key, element)
            }
            Value::String(_) => Err(damaged()),
        }
    }

    /// Takes an element from an end.
    pub(crate) fn pop_element(&mut self, entry: &mut Entry, left: bool) -> Result<Option<Vec<u8>>> {
        let count = entry.count();
        if count == 0 {
            return Ok(None);
        }
        let at = if left { 0 } else { count - 1 };
        let element = self.element(entry.db, &entry.record(), at)?.map(<[u8]>::to_vec);
        self.trim(
            entry,
            if left {
                Slice { start: 1, end: count }
            } else {
                Slice { start: 0, end: at }
            },
        )?;
        Ok(element)
    }

    /// Keeps only a slice.
    pub(crate) fn trim(&mut self, entry: &mut Entry, slice: Slice) -> Result<()> {
        match &mut entry.value {
            Value::String(_) => Err(damaged()),
            Value::Packed(packed) => {
                let kept = Packed(packed)
                    .skip(slice.start as usize)
                    .take(slice.len() as usize);
                entry.value = Value::Packed(packed::pack(kept));
                Ok(())
            }
            Value::Spread(spread) => {
                let spread = *spread;
                let gone = self.bytes_of(
                    entry,
                    Slice {
                        start: 0,
                        end: slice.start,
                    },
                )? + self.bytes_of(
                    entry,
                    Slice {
                        start: slice.end,
                        end: spread.count,
                    },
                )?;
                let (first, kept) = (spread.head, spread.head + slice.start as i64);
                let (kept_end, last) = (spread.head + slice.end as i64, spread.head + spread.count as i64);
                self.discard_elements(entry.db, spread.id, first, kept)?;
                self.discard_elements(entry.db, spread.id, kept_end, last)?;
                let bytes = spread.bytes.saturating_sub(gone);
                entry.value = Value::Spread(Spread {
                    head: kept,
                    count: slice.len(),
                    bytes,
                    ..spread
                });
                Ok(())
            }
        }
    }

    fn bytes_of(&self, entry: &Entry, slice: Slice) -> Result<u64> {
        let mut bytes = 0;
        if slice.len() > 0 {
            self.each_element(entry.db, &entry.record(), slice, false, |_, element| {
                bytes += element.len() as u64;
                true
            })?;
        }
        Ok(bytes)
    }

    /// Forgets the records from one index up to but without another.
    fn discard_elements(&mut self, db: usize, id: u64, start: i64, end: i64) -> Result<()> {
        if end - start <= 4 {
            return (start..end).try_for_each(|index| self.discard_item(db, &layout::index(id, index)));
        }
        self.discard_items(db, &layout::index(id, start), &layout::index(id, end))
    }

    /// Replaces the element at a place, which must be there.
    pub(crate) fn set_element(&mut self, entry: &mut Entry, at: u64, element: &[u8]) -> Result<()> {
        match &mut entry.value {
            Value::Packed(packed) => {
                let changed = packed::pack(
                    Packed(packed)
                        .enumerate()
                        .map(|(i, old)| if i as u64 == at { element } else { old }),
                );
                self.repack(entry, &changed)
            }
            Value::Spread(spread) => {
                let key = layout::index(spread.id, spread.head + at as i64);
                let old = self.item(entry.db, &key)?.ok_or_else(damaged)?.len() as u64;
                spread.bytes = spread.bytes.saturating_sub(old) + element.len() as u64;
                self.put_item(entry.db, &key, element)
            }
            Value::String(_) => Err(damaged()),
        }
    }

    fn repack(&mut self, entry: &mut Entry, packed: &[u8]) -> Result<()> {
        entry.value = Value::Packed(Vec::new());
        Packed(packed).try_for_each(|element| self.push_element(entry, false, element))
    }

    /// Puts an element before the one at a place.
    pub(crate) fn insert_element(&mut self, entry: &mut Entry, at: u64, element: &[u8]) -> Result<()> {
        let count = entry.count();
        if at == 0 || at >= count {
            return self.push_element(entry, at == 0, element);
        }
        match &mut entry.value {
            Value::Packed(packed) => {
                let mut changed = Vec::new();
                for (i, old) in Packed(packed).enumerate() {
                    if i as u64 == at {
                        packed::push(&mut changed, element);
                    }
                    packed::push(&mut changed, old);
                }
                self.repack(entry, &changed)
            }
            Value::Spread(spread) => {
                let (id, first, left) = (spread.id, spread.head, at < count - at);
                spread.count += 1;
                spread.bytes += element.len() as u64;
                spread.head -= i64::from(left);
                let head = spread.head;
                if left {
                    self.move_elements(entry.db, id, (first, first + at as i64), -1)?;
                } else {
                    self.move_elements(entry.db, id, (first + at as i64, first + count as i64), 1)?;
                }
                self.put_item(entry.db, &layout::index(id, head + at as i64), element)
            }
            Value::String(_) => Err(damaged()),
        }
    }

    /// Removes the elements at places in rising order.
    pub(crate) fn remove_elements(&mut self, entry: &mut Entry, places: &[u64]) -> Result<()> {
        match &mut entry.value {
            Value::String(_) => Err(damaged()),
            Value::Packed(packed) => {
                let kept = Packed(packed)
                    .enumerate()
                    .filter(|(i, _)| places.binary_search(&(*i as u64)).is_err());
                entry.value = Value::Packed(packed::pack(kept.map(|(_, element)| element)));
                Ok(())
            }
            Value::Spread(spread) => {
                let (Some(first), Some(last)) = (places.first(), places.last()) else {
                    return Ok(());
                };
                let (mut spread, end) = (*spread, spread.head + spread.count as i64);
                let head = spread.head;
                for place in places {
                    let key = layout::index(spread.id, head + *place as i64);
                    let len = self.item(entry.db, &key)?.ok_or_else(damaged)?.len() as u64;
                    spread.bytes = spread.bytes.saturating_sub(len);
                }
                let gone = places.len() as i64;
                let at = |i: usize| head + places[i] as i64;
                // What lies between two of the places moves over those that are gone.
                if *last < spread.count - *first {
                    for i in (0..places.len()).rev() {
                        let from = if i == 0 { head } else { at(i - 1) + 1 };
                        self.move_elements(entry.db, spread.id, (from, at(i)), gone - i as i64)?;
                    }
                    self.discard_elements(entry.db, spread.id, head, head + gone)?;
                    spread.head += gone;
                } else {
                    for i in 0..places.len() {
                        let to = if i + 1 == places.len() { end } else { at(i + 1) };
                        self.move_elements(entry.db, spread.id, (at(i) + 1, to), -(i as i64) - 1)?;
                    }
                    self.discard_elements(entry.db, spread.id, end - gone, end)?;
                }
                spread.count -= gone as u64;
                entry.value = Value::Spread(spread);
                Ok(())
            }
        }
    }

    /// Moves the elements from one index up to but without another by some places, over whatever is there.
    fn move_elements(&mut self, db: usize, id: u64, (start, end): (i64, i64), by: i64) -> Result<()> {
        let mut left = (end - start).max(0) as u64;
        while left > 0 {
            let len = left.min(BATCH) as i64;
            let from = if by < 0 {
                end - left as i64
            } else {
                start + left as i64 - len
            };
            let mut batch = Vec::with_capacity(len as usize);
            for pair in self.items(db, &layout::index(id, from), &layout::index(id, from + len))? {
                batch.push(pair?.1.to_vec());
            }
            if batch.len() as i64 != len {
                return Err(damaged());
            }
            for (i, element) in batch.iter().enumerate() {
                self.put_item(db, &layout::index(id, from + i as i64 + by), element)?;
            }
            left -= len as u64;
        }
        Ok(())
    }
}
