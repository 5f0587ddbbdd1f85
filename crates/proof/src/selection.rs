//! Whether the leaves that a layer shows answer what was asked: all that must be seen is, and nothing else.
//!
//! Parts are met in the direction of the query. Between each leaf and the next (or the end of the tree) lies
//! an interval of keys, and perhaps a gap, which stands for entries in it that are left out:
//!
//! - no gap: the tree has nothing there. If the query asks about the interval, both leaves were needed to
//!   show it.
//! - a gap, and the query doesn't ask about the interval: fine.
//! - a gap, and both its ends are inside the one range: its entries are in the range, and are counted, not
//!   seen. That is how an offset is passed over and totals are proven.
//! - any other gap hides something that was asked for.
//!
//! A range is entered and left, when entries are only counted, over a leaf inside it at each end, unless it
//! has no bound there. So for each tree and query there is exactly one proof.

use alloc::vec::Vec;

use crate::error::Error;
use crate::layer::{Layer, Leaf, Part, Totals};
use crate::planted::{Check, left_out};
use crate::query::{Ask, Direction, Range};

/// What a layer answers.
pub(crate) struct Selection<'l, 'p> {
    /// The entries asked for, each with its value, in the direction of the query.
    pub(crate) entries: Vec<&'l Leaf<'p>>,
    /// Of the entries that were only counted.
    pub(crate) counted: Totals,
}

impl<'l, 'p> Selection<'l, 'p> {
    pub(crate) fn of(layer: &'l Layer<'p>, ask: &Ask) -> Result<Selection<'l, 'p>, Error> {
        let mut scan = Scan::new(ask);
        match ask.direction() {
            Direction::Ascending => layer.parts.iter().try_for_each(|part| scan.part(part))?,
            Direction::Descending => layer.parts.iter().rev().try_for_each(|part| scan.part(part))?,
        }
        scan.finish()
    }
}

/// How entries of an ask are taken, in its direction.
impl Ask {
    pub(crate) fn direction(&self) -> Direction {
        match self {
            Ask::Entries(select) => select.direction,
            Ask::Totals(_) => Direction::Ascending,
        }
    }

    /// How many entries are counted before the first is taken.
    pub(crate) fn offset(&self) -> u64 {
        match self {
            Ask::Entries(select) => select.offset,
            Ask::Totals(_) => u64::MAX,
        }
    }

    pub(crate) fn limit(&self) -> Option<u64> {
        match self {
            Ask::Entries(select) => select.limit,
            Ask::Totals(_) => None,
        }
    }

    /// Whether the first and the last range have no bound at the ends of the tree, in the ask's direction.
    pub(crate) fn open(&self) -> (bool, bool) {
        let ranges = self.ranges();
        let start = ranges.first().is_some_and(|range| range.start.is_empty());
        let end = ranges.last().is_some_and(|range: &Range| range.end.is_none());
        match self.direction() {
            Direction::Ascending => (start, end),
            Direction::Descending => (end, start),
        }
    }
}

struct Scan<'q, 'l, 'p> {
    ask: &'q Ask,
    ascending: bool,
    open_near: bool,
    open_far: bool,
    /// Entries still to be counted before the first is taken.
    offset_left: u64,
    /// Whether the limit is reached.
    full: bool,
    /// The leaf before this place.
    last: Option<&'l Leaf<'p>>,
    /// Whether it is asked for; where there is none, whether nothing bounds what is asked for there.
    last_inside: bool,
    /// Whether it must yet turn out why it was shown.
    last_unexplained: bool,
    gap: Totals,
    taken: Selection<'l, 'p>,
}

impl<'q, 'l, 'p> Scan<'q, 'l, 'p> {
    fn new(ask: &'q Ask) -> Scan<'q, 'l, 'p> {
        let (open_near, open_far) = ask.open();
        Scan {
            ask,
            ascending: ask.direction() == Direction::Ascending,
            open_near,
            open_far,
            offset_left: ask.offset(),
            full: false,
            last: None,
            last_inside: open_near,
            last_unexplained: false,
            gap: Totals::default(),
            taken: Selection {
                entries: Vec::new(),
                counted: Totals::default(),
            },
        }
    }

    fn part(&mut self, part: &'l Part<'p>) -> Result<(), Error> {
        match part {
            Part::Gap(totals) => {
                self.gap = self.gap.add(*totals).ok_or_else(|| self.incomplete())?;
                Ok(())
            }
            Part::Leaf(leaf) => self.leaf(leaf),
        }
    }

    fn leaf(&mut self, leaf: &'l Leaf<'p>) -> Result<(), Error> {
        let unneeded = || Error::Unneeded {
            key: leaf.key.to_vec(),
        };
        if self.full && !left_out(Check::Limit) {
            return Err(unneeded());
        }
        let inside = self.ask.contains(leaf.key);
        let asked_between = self.interval(Some(leaf), inside)?;
        self.last_unexplained = match (&leaf.value, inside) {
            (Some(_), true) if self.offset_left == 0 => {
                self.taken.entries.push(leaf);
                self.full = self.ask.limit() == Some(self.taken.entries.len() as u64);
                false
            }
            (Some(_), _) if left_out(Check::Value) => false,
            (Some(_), _) => return Err(unneeded()),
            (None, true) if self.offset_left > 0 => {
                let first = self.taken.counted.count == 0;
                self.count(Totals {
                    count: 1,
                    sum: leaf.sum,
                })?;
                !first || self.open_near
            }
            (None, true) if left_out(Check::Entry) => false,
            (None, true) => {
                return Err(Error::Incomplete {
                    key: Some(leaf.key.to_vec()),
                });
            }
            (None, false) => !asked_between,
        };
        (self.last, self.last_inside) = (Some(leaf), inside);
        Ok(())
    }

    /// Judges what lies between the last leaf and `next`, or the end of the tree. Says whether both were
    /// needed to show that nothing does.
    fn interval(&mut self, next: Option<&Leaf<'_>>, next_inside: bool) -> Result<bool, Error> {
        let (last_key, next_key) = (self.last.map(|leaf| leaf.key), next.map(|leaf| leaf.key));
        let (low, high) = if self.ascending {
            (last_key, next_key)
        } else {
            (next_key, last_key)
        };
        let gap = core::mem::take(&mut self.gap);
        let asked = !self.full && self.ask.meets(low, high);
        let empty = gap.count == 0;
        let last_inside = self.last_inside;

        if self.last_unexplained {
            // A counted leaf is the last in its range if what follows is outside; the others border on
            // something asked for.
            let explained = if last_inside { !next_inside } else { asked && empty };
            if !explained && !left_out(Check::Bound) {
                return Err(Error::Unneeded {
                    key: last_key.unwrap_or_default().to_vec(),
                });
            }
        }
        if asked && !empty {
            let counted = last_inside && next_inside && self.ask.ranges().len() == 1;
            if counted {
                self.count(gap)?;
            } else if !left_out(Check::Gap) {
                return Err(self.incomplete());
            }
        }
        Ok(asked && empty)
    }

    /// Passes over entries of the range.
    fn count(&mut self, totals: Totals) -> Result<(), Error> {
        self.offset_left = self
            .offset_left
            .checked_sub(totals.count)
            .ok_or_else(|| self.incomplete())?;
        let counted = self.taken.counted.add(totals);
        self.taken.counted = counted.ok_or_else(|| self.incomplete())?;
        Ok(())
    }

    fn finish(mut self) -> Result<Selection<'l, 'p>, Error> {
        self.interval(None, self.open_far)?;
        Ok(self.taken)
    }

    fn incomplete(&self) -> Error {
        Error::Incomplete {
            key: self.last.map(|leaf| leaf.key.to_vec()),
        }
    }
}
