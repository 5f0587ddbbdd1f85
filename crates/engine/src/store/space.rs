//! Which pages of the file are free, and which will be once nobody needs them.
//!
//! A page that was born in commit `a` and freed by commit `f` is needed by the snapshots in `[a, f)` and by nothing else. A
//! checkpoint counts as a snapshot that stays until the next one is durable. So reuse is decided page by page: a
//! reader that stays for long holds what it can see, not everything that was freed since.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{PageId, TxId};

/// Pages, one after the other in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    pub(crate) len: u64,
}

/// Pages that a commit no longer reaches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freed {
    pub(crate) extent: Extent,
    pub(crate) born: TxId,
    pub(crate) freed: TxId,
}

/// What a commit came to refer to; see [`Space::own`].
#[derive(Debug)]
pub(crate) struct Owned {
    runs: Vec<Extent>,
    spilled: Vec<Extent>,
}

/// What the space says of every page that no tree has.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) end: u64,
    pub(crate) free: Vec<Extent>,
    /// Pages that no tree of the surveyed commit has, and that are not free yet.
    pub(crate) pending: Vec<Extent>,
    /// Runs and pages of open transactions, and of commits that are just ending.
    pub(crate) claimed: Vec<Extent>,
}

/// The pages that are kept at hand for the next commit instead of going back to the extents: their memory is warm.
const RECENT_MAX: usize = 1024;
/// How many pages are taken from an extent at once.
const TAKE: u64 = 64;

/// The free pages of the file.
#[derive(Debug)]
pub(crate) struct Space {
    by_start: BTreeMap<u64, u64>,
    by_len: BTreeSet<(u64, u64)>,
    free_pages: u64,
    recent: Vec<u64>,
    /// Freed since it was last asked who needs them.
    fresh: Vec<Freed>,
    /// Somebody needed these when it was last asked.
    kept: Vec<Freed>,
    /// Of both.
    pending_pages: u64,
    /// How many fresh ones were looked at since it was last asked of the kept ones.
    passed: usize,
    /// Whether something that held pages back is gone.
    reconsiders: bool,
    /// Runs that open transactions have filled and no commit refers to yet: a crash frees them.
    unowned: BTreeMap<u64, u64>,
    /// Pages that the one open transaction has spilled to: a crash frees these too.
    spilled: Vec<Extent>,
    takes_first: bool,
    /// One more than the last page in use.
    end: u64,
}

/// So few freed pages are not worth a look.
const SCAN_MIN: usize = 256;

impl Space {
    /// The space of a file whose pages are all in use up to `end`, but for `free`.
    pub(crate) fn new(end: u64, free: &[Extent]) -> Space {
        let mut space = Space {
            by_start: BTreeMap::new(),
            by_len: BTreeSet::new(),
            free_pages: 0,
            recent: Vec::new(),
            fresh: Vec::new(),
            kept: Vec::new(),
            pending_pages: 0,
            passed: 0,
            reconsiders: false,
            unowned: BTreeMap::new(),
            spilled: Vec::new(),
            takes_first: false,
            end,
        };
        // A list may have neighbours, which were free for different reasons: a run that is reserved may lie across them.
        let free = merge_adjacent(free.iter().copied().filter(|extent| extent.len > 0).collect());
        let extents = || free.iter();
        // Sorted and apart, these are built in one go.
        space.by_start = extents().map(|extent| (extent.start, extent.len)).collect();
        space.by_len = extents().map(|extent| (extent.len, extent.start)).collect();
        space.free_pages = extents().map(|extent| extent.len).sum();
        space
    }

    /// One more than the last page in use.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Pages that can be taken at once.
    pub(crate) fn free_pages(&self) -> u64 {
        self.free_pages + self.recent.len() as u64
    }

    /// Pages that somebody still needs.
    pub(crate) fn pending_pages(&self) -> u64 {
        self.pending_pages
    }

    /// Takes one page: a warm one, or the first free one, so that the end of the file empties.
    pub(crate) fn take_page(&mut self) -> PageId {
        if let Some(page) = self.recent.pop() {
            return PageId(page);
        }
        match self.next_extent() {
            Some((start, len)) => {
                // Some at once, as each change of the extents has its price.
                let taken = if self.takes_first { 1 } else { len.min(TAKE) };
                self.remove(start, len);
                if len > taken {
                    self.insert(start + taken, len - taken);
                }
                self.recent.extend((start + 1..start + taken).rev());
                PageId(start)
            }
            None => {
                self.end += 1;
                PageId(self.end - 1)
            }
        }
    }

    /// The extent that single pages are taken from: the first, so that the end of the file empties, but rather one near it that is long enough for a
    /// checkpoint to write many pages at once.
    fn next_extent(&self) -> Option<(u64, u64)> {
        const NEAR: usize = 16;
        const LONG: u64 = 16;
        let mut near = self.by_start.iter().take(NEAR).map(|(&start, &len)| (start, len));
        let first = near.next()?;
        if self.takes_first || first.1 >= LONG {
            return Some(first);
        }
        let long = near.find(|(_, len)| *len >= LONG);
        long.or_else(|| {
            self.by_len
                .range((LONG, 0)..)
                .next()
                .map(|&(len, start)| (start, len))
        })
        .or(Some(first))
    }

    /// Takes `len` pages in a row: the smallest extent that has them, or the end of the file.
    pub(crate) fn take_run(&mut self, len: u64) -> Extent {
        if let Some(&(found, start)) = self.by_len.range((len, 0)..).next() {
            self.remove(start, found);
            if found > len {
                self.insert(start + len, found - len);
            }
            return Extent { start, len };
        }
        let start = self.end;
        self.end += len;
        Extent { start, len }
    }

    /// Takes a run for a transaction that has not committed.
    pub(crate) fn take_unowned(&mut self, len: u64) -> Extent {
        let extent = self.take_run(len);
        self.unowned.insert(extent.start, extent.len);
        extent
    }

    /// A commit refers to these runs now, and to what the open transaction has spilled.
    pub(crate) fn own(&mut self, runs: impl Iterator<Item = Extent>) -> Owned {
        let runs = runs
            .filter(|run| self.unowned.remove(&run.start).is_some())
            .collect();
        let spilled = std::mem::take(&mut self.spilled);
        Owned { runs, spilled }
    }

    /// The commit did not come about.
    pub(crate) fn unown(&mut self, owned: Owned) {
        self.unowned
            .extend(owned.runs.into_iter().map(|run| (run.start, run.len)));
        self.spilled = owned.spilled;
    }

    /// Whether no commit refers to the run.
    pub(crate) fn is_unowned(&self, run: Extent) -> bool {
        self.unowned.get(&run.start) == Some(&run.len)
    }

    /// The transaction that took the run went away, or dropped it.
    pub(crate) fn disown(&mut self, extent: Extent) {
        if self.unowned.remove(&extent.start).is_some() {
            self.give_back(extent);
        }
    }

    /// Notes that the open transaction has spilled to these pages, which no commit refers to yet. They may not be free when it ends.
    pub(crate) fn spill(&mut self, pages: &[PageId]) {
        let extents = pages.iter().map(|id| Extent { start: id.0, len: 1 }).collect();
        self.spilled = merge_adjacent(extents);
    }

    /// The transaction that spilled was rolled back.
    pub(crate) fn forget_spilled(&mut self) {
        self.spilled.clear();
    }

    /// Takes just these pages, which the log says are in use. `false` where they are not free.
    pub(crate) fn reserve(&mut self, extent: Extent) -> bool {
        let stop = extent.start + extent.len;
        if extent.start >= self.end {
            if extent.start > self.end {
                self.insert(self.end, extent.start - self.end);
            }
            self.end = stop;
            return true;
        }
        self.settle();
        let Some((&start, &len)) = self.by_start.range(..=extent.start).next_back() else {
            return false;
        };
        let free_stop = start + len;
        if free_stop < stop && !(free_stop == self.end && stop > self.end) {
            return false;
        }
        self.remove(start, len);
        if start < extent.start {
            self.insert(start, extent.start - start);
        }
        if free_stop > stop {
            self.insert(stop, free_stop - stop);
        }
        self.end = self.end.max(stop);
        true
    }

    /// These pages are free from now on.
    pub(crate) fn give_back(&mut self, extent: Extent) {
        // Where much of the file is free, the first pages are taken first, so that its end empties and can be cut.
        let roomy = self.free_pages > self.end / 2;
        if extent.len == 1 && self.recent.len() < RECENT_MAX && !roomy {
            self.recent.push(extent.start);
        } else if extent.len > 0 {
            self.coalesce(extent);
        }
    }

    /// These pages are free when nobody needs them.
    pub(crate) fn free_later(&mut self, freed: Freed) {
        self.pending_pages += freed.extent.len;
        self.fresh.push(freed);
    }

    fn pending(&self) -> impl Iterator<Item = &Freed> {
        self.kept.iter().chain(&self.fresh)
    }

    /// Forgets that commit `txid` freed anything.
    pub(crate) fn unfree(&mut self, txid: TxId, mut restore: impl FnMut(Extent)) {
        let mut forgotten = 0;
        let mut stays = |freed: &Freed| {
            if freed.freed == txid {
                forgotten += freed.extent.len;
                restore(freed.extent);
            }
            freed.freed != txid
        };
        self.kept.retain(&mut stays);
        self.fresh.retain(&mut stays);
        self.pending_pages -= forgotten;
    }

    /// Whether enough was freed for `reclaim` to be worth it.
    pub(crate) fn wants_reclaim(&self) -> bool {
        self.reconsiders || self.fresh.len() >= SCAN_MIN
    }

    /// Gives back what none of `snapshots` (ascending) needs, and no commit after `published` either. `release` is told of each extent first.
    ///
    /// What somebody needs is likely to be needed for long, by a reader that stays or by a checkpoint. So it is asked of again only when
    /// [`reconsider`](Self::reconsider) says so, or when as many have passed that it costs each of those no more than a second look.
    pub(crate) fn reclaim(&mut self, snapshots: &[u64], published: TxId, mut release: impl FnMut(Extent)) {
        let is_needed = |freed: &Freed| {
            let first = snapshots.partition_point(|s| *s < freed.born.0);
            snapshots.get(first).is_some_and(|s| *s < freed.freed.0) || freed.freed > published
        };
        self.passed += self.fresh.len();
        let mut freed = std::mem::take(&mut self.fresh);
        let again = std::mem::take(&mut self.reconsiders) || self.passed + SCAN_MIN >= self.kept.len();
        if again {
            self.passed = 0;
            let mut kept = std::mem::take(&mut self.kept);
            self.give_back_unneeded(&mut kept, &is_needed, &mut release);
            self.kept = kept;
        }
        self.give_back_unneeded(&mut freed, &is_needed, &mut release);
        self.kept.append(&mut freed);
        // Its memory is used again.
        self.fresh = freed;
    }

    /// Leaves those that are needed.
    fn give_back_unneeded(
        &mut self,
        pending: &mut Vec<Freed>,
        is_needed: &impl Fn(&Freed) -> bool,
        release: &mut impl FnMut(Extent),
    ) {
        pending.retain(|freed| {
            let stays = is_needed(freed);
            if !stays {
                self.pending_pages -= freed.extent.len;
                release(freed.extent);
                self.give_back(freed.extent);
            }
            stays
        });
    }

    /// Makes the next `wants_reclaim` true: something that held pages back is gone.
    pub(crate) fn reconsider(&mut self) {
        self.reconsiders = true;
    }

    /// The pages that commit `upto` and all earlier snapshots except it do not need: what is free in the state of that commit.
    /// Runs of open transactions are among them, since no commit refers to them.
    pub(crate) fn free_as_of(&mut self, upto: TxId) -> Vec<Extent> {
        self.settle();
        let mut free: Vec<Extent> = self
            .by_start
            .iter()
            .map(|(&start, &len)| Extent { start, len })
            .collect();
        free.extend(self.unowned.iter().map(|(&start, &len)| Extent { start, len }));
        free.extend_from_slice(&self.spilled);
        free.extend(self.pending().filter(|f| f.freed <= upto).map(|f| f.extent));
        merge_adjacent(free)
    }

    /// Where everything is that the trees of commit `as_of` don't have.
    pub(crate) fn survey(&mut self, as_of: TxId) -> Survey {
        self.settle();
        let extents = |map: &BTreeMap<u64, u64>| -> Vec<Extent> {
            map.iter().map(|(&start, &len)| Extent { start, len }).collect()
        };
        let mut claimed = extents(&self.unowned);
        claimed.extend_from_slice(&self.spilled);
        let pending = self.pending().filter(|freed| freed.freed <= as_of);
        Survey {
            end: self.end,
            free: extents(&self.by_start),
            pending: pending.map(|freed| freed.extent).collect(),
            claimed,
        }
    }

    /// The pages in use, were everything free that nobody needs any more.
    pub(crate) fn used_pages(&self) -> u64 {
        self.end - self.free_pages() - self.pending_pages
    }

    /// Takes `len` pages in a row from the first extent that has them, if that ends below `bound`. They belong to a transaction that has not
    /// committed.
    pub(crate) fn take_unowned_below(&mut self, len: u64, bound: u64) -> Option<Extent> {
        self.settle();
        let (start, found) = self
            .by_start
            .iter()
            .map(|(&start, &found)| (start, found))
            .take_while(|(start, _)| start + len <= bound)
            .find(|(_, found)| *found >= len)?;
        self.remove(start, found);
        if found > len {
            self.insert(start + len, found - len);
        }
        self.unowned.insert(start, len);
        Some(Extent { start, len })
    }

    /// Whether single pages are taken from the very beginning of the file, however scattered they are: to empty its end.
    pub(crate) fn take_first(&mut self, on: bool) {
        self.settle();
        self.takes_first = on;
    }

    /// Whether there is a free page below `bound`.
    pub(crate) fn has_free_below(&mut self, bound: u64) -> bool {
        self.settle();
        self.by_start
            .first_key_value()
            .is_some_and(|(start, _)| *start < bound)
    }

    /// No list of free pages has more extents than this.
    pub(crate) fn extents_max(&self) -> u64 {
        (self.by_start.len()
            + self.recent.len()
            + self.kept.len()
            + self.fresh.len()
            + self.unowned.len()
            + self.spilled.len()
            + 2) as u64
    }

    /// Forgets the free pages at the end of the file, so that it can be cut there.
    pub(crate) fn trim_end(&mut self) {
        self.settle();
        if let Some((&start, &len)) = self.by_start.last_key_value()
            && start + len == self.end
        {
            self.remove(start, len);
            self.end = start;
        }
    }

    /// The extents that are free now, of at least `len` pages.
    pub(crate) fn extents(&self, len: u64) -> impl Iterator<Item = Extent> {
        self.by_len
            .range((len, 0)..)
            .map(|&(len, start)| Extent { start, len })
    }

    /// Puts the pages at hand back among the extents.
    fn settle(&mut self) {
        for page in std::mem::take(&mut self.recent) {
            self.coalesce(Extent { start: page, len: 1 });
        }
    }

    fn coalesce(&mut self, mut extent: Extent) {
        if let Some((&start, &len)) = self.by_start.range(..extent.start).next_back()
            && start + len == extent.start
        {
            self.remove(start, len);
            extent = Extent {
                start,
                len: len + extent.len,
            };
        }
        if let Some(&len) = self.by_start.get(&(extent.start + extent.len)) {
            self.remove(extent.start + extent.len, len);
            extent.len += len;
        }
        self.insert(extent.start, extent.len);
    }

    fn insert(&mut self, start: u64, len: u64) {
        self.by_start.insert(start, len);
        self.by_len.insert((len, start));
        self.free_pages += len;
    }

    fn remove(&mut self, start: u64, len: u64) {
        self.by_start.remove(&start);
        self.by_len.remove(&(len, start));
        self.free_pages -= len;
    }
}

/// The same pages in as few extents as can be, in order.
pub(crate) fn merge_adjacent(mut extents: Vec<Extent>) -> Vec<Extent> {
    extents.sort_unstable();
    let mut merged: Vec<Extent> = Vec::with_capacity(extents.len());
    for extent in extents {
        match merged.last_mut() {
            Some(last) if last.start + last.len >= extent.start => {
                last.len = last.len.max(extent.start + extent.len - last.start);
            }
            _ => merged.push(extent),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn freed(page: u64, born: u64, freed: u64) -> Freed {
        Freed {
            extent: Extent { start: page, len: 1 },
            born: TxId(born),
            freed: TxId(freed),
        }
    }

    fn reclaimed(space: &mut Space, snapshots: &[u64], published: u64) -> Vec<u64> {
        let mut pages = Vec::new();
        space.reclaim(snapshots, TxId(published), |extent| pages.push(extent.start));
        pages
    }

    #[test]
    fn a_page_is_held_by_the_snapshots_that_see_it_and_no_others() {
        let mut space = Space::new(100, &[]);
        space.free_later(freed(7, 10, 20));
        assert_eq!(reclaimed(&mut space, &[15], 30), []);
        assert_eq!(reclaimed(&mut space, &[10], 30), []);
        assert_eq!(reclaimed(&mut space, &[19], 30), []);
        assert_eq!(reclaimed(&mut space, &[9, 20, 25], 30), [7]);
    }

    #[test]
    fn what_is_freed_by_a_commit_that_is_not_published_stays() {
        let mut space = Space::new(100, &[]);
        space.free_later(freed(7, 10, 20));
        assert_eq!(reclaimed(&mut space, &[], 19), []);
        assert_eq!(reclaimed(&mut space, &[], 20), [7]);
        assert_eq!(space.take_page(), PageId(7));
        assert_eq!(space.take_page(), PageId(100));
    }

    #[test]
    fn what_is_kept_is_looked_at_again_when_as_much_has_passed() {
        let mut space = Space::new(1 << 20, &[]);
        let kept = 4 * SCAN_MIN as u64;
        (0..kept).for_each(|page| space.free_later(freed(page, 10, 20)));
        assert_eq!(reclaimed(&mut space, &[15], 100), []);
        assert!(!space.wants_reclaim());
        let mut pages = 0;
        for round in 1.. {
            (0..SCAN_MIN as u64).for_each(|i| space.free_later(freed(kept * round + i, 30, 40)));
            assert!(space.wants_reclaim());
            pages += reclaimed(&mut space, &[], 100).len() as u64;
            assert_eq!(pages + space.pending_pages(), kept + round * SCAN_MIN as u64);
            if space.pending_pages() == 0 {
                assert!((2..=4).contains(&round), "{round}");
                break;
            }
            assert_eq!(space.pending_pages(), kept);
        }
        (0..kept).for_each(|page| space.free_later(freed(page, 10, 20)));
        assert_eq!(reclaimed(&mut space, &[15], 100), []);
        space.reconsider();
        assert!(space.wants_reclaim());
        assert_eq!(reclaimed(&mut space, &[], 100).len() as u64, kept);
    }

    #[test]
    fn neighbours_join_and_the_free_end_goes() {
        let mut space = Space::new(100, &[]);
        for start in [96, 98, 97, 99, 10] {
            space.give_back(Extent { start, len: 1 });
        }
        space.trim_end();
        assert_eq!((space.end(), space.free_pages()), (96, 1));
        assert_eq!(space.take_page(), PageId(10));
    }

    #[test]
    fn a_run_takes_the_smallest_extent_that_holds_it() {
        let mut space = Space::new(100, &[Extent { start: 10, len: 8 }, Extent { start: 40, len: 5 }]);
        assert_eq!(space.take_run(5).start, 40);
        assert_eq!(space.take_run(5).start, 10);
        assert_eq!(space.take_run(5).start, 100);
        assert_eq!(space.free_pages(), 3);
    }

    #[test]
    fn reserving_takes_exactly_these_pages() {
        let mut space = Space::new(100, &[Extent { start: 10, len: 8 }]);
        assert!(space.reserve(Extent { start: 12, len: 2 }));
        assert!(!space.reserve(Extent { start: 13, len: 1 }));
        assert!(space.reserve(Extent { start: 105, len: 5 }));
        assert_eq!(space.end(), 110);
        assert_eq!(space.free_pages(), 11);
        assert_eq!(
            space.free_as_of(TxId(0)),
            [
                Extent { start: 10, len: 2 },
                Extent { start: 14, len: 4 },
                Extent { start: 100, len: 5 }
            ]
        );
    }

    #[test]
    fn a_run_across_neighbours_of_the_list_can_be_reserved() {
        let list = [(10, 4), (14, 1), (15, 5)].map(|(start, len)| Extent { start, len });
        let mut space = Space::new(100, &list);
        assert!(space.reserve(Extent { start: 12, len: 6 }));
        assert_eq!(space.free_pages(), 4);
    }

    #[test]
    fn a_checkpoint_counts_as_free_what_it_does_not_reach() {
        let mut space = Space::new(100, &[]);
        let run = space.take_unowned(3);
        space.free_later(freed(7, 1, 5));
        space.free_later(freed(8, 1, 6));
        assert_eq!(space.free_as_of(TxId(5)), [Extent { start: 7, len: 1 }, run]);
        let owned = space.own([run].into_iter());
        assert_eq!(space.free_as_of(TxId(5)), [Extent { start: 7, len: 1 }]);
        space.unown(owned);
        assert_eq!(space.free_as_of(TxId(5)), [Extent { start: 7, len: 1 }, run]);
    }
}
