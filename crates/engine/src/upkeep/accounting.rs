//! Which pages are in use, and whether everything that lays claim to pages does so without gaps and overlaps.

use std::collections::BTreeMap;

use crate::store::{Extent, Survey};

/// Pages per chunk.
const CHUNK: u64 = 1 << 15;
const WORDS: usize = CHUNK as usize / 64;

/// A set of pages: one bit for each, in chunks that exist where anything is set.
#[derive(Default)]
pub(crate) struct PageSet {
    chunks: BTreeMap<u64, Box<[u64; WORDS]>>,
    len: u64,
}

impl PageSet {
    /// Adds a page; whether it was not there.
    pub(crate) fn insert(&mut self, page: u64) -> bool {
        let chunk = self
            .chunks
            .entry(page / CHUNK)
            .or_insert_with(|| Box::new([0; WORDS]));
        let within = page % CHUNK;
        let (word, bit) = (&mut chunk[within as usize / 64], 1 << (within % 64));
        let absent = *word & bit == 0;
        *word |= bit;
        self.len += u64::from(absent);
        absent
    }

    pub(crate) fn contains(&self, page: u64) -> bool {
        let within = page % CHUNK;
        self.chunks
            .get(&(page / CHUNK))
            .is_some_and(|chunk| chunk[within as usize / 64] & 1 << (within % 64) != 0)
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The pages as extents, ascending; neighbours may come as two where a chunk ends.
    pub(crate) fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        self.chunks.iter().flat_map(|(&number, chunk)| {
            let mut at = 0;
            std::iter::from_fn(move || {
                let start = next(chunk, at, true)?;
                let stop = next(chunk, start, false).unwrap_or(CHUNK);
                at = stop;
                Some(Extent {
                    start: number * CHUNK + start,
                    len: stop - start,
                })
            })
        })
    }

    /// The pages from 2 up to `end` that are not in the set.
    pub(crate) fn gaps(&self, end: u64) -> Vec<Extent> {
        let mut gaps = Vec::new();
        let mut at = 2;
        for extent in self.extents() {
            if extent.start > at {
                let len = extent.start.min(end).saturating_sub(at);
                gaps.push(Extent { start: at, len });
            }
            at = at.max(extent.start + extent.len);
        }
        if at < end {
            gaps.push(Extent {
                start: at,
                len: end - at,
            });
        }
        gaps.retain(|gap| gap.len > 0);
        gaps
    }
}

/// The first bit from `from` on that is `set`.
fn next(chunk: &[u64; WORDS], from: u64, set: bool) -> Option<u64> {
    let mut at = from;
    while at < CHUNK {
        let word = chunk[at as usize / 64];
        let word = if set { word } else { !word };
        let rest = word >> (at % 64);
        if rest != 0 {
            return Some(at + u64::from(rest.trailing_zeros()));
        }
        at = (at / 64 + 1) * 64;
    }
    None
}

/// Who says that a page is his.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claim {
    /// A tree, or a large value.
    Used,
    /// The free pages.
    Free,
    /// What is free once nobody needs it.
    Pending,
    /// A list that the meta page leads to.
    List,
    /// A transaction, or a commit that is just ending and whose trees have the page too.
    Open,
}

impl Claim {
    fn name(self) -> &'static str {
        match self {
            Claim::Used => "a tree",
            Claim::Free => "the free pages",
            Claim::Pending => "the pages that are free later",
            Claim::List => "the lists of the last checkpoint",
            Claim::Open => "an open transaction",
        }
    }
}

/// Shows `found` all pages from 2 up to the end that nobody has, or that several have.
pub(crate) fn balance(
    used: &PageSet,
    survey: &Survey,
    lists: &[Extent],
    mut found: impl FnMut(Extent, String),
) {
    let mut others: Vec<(Extent, Claim)> = Vec::new();
    let kinds = [
        (&survey.free[..], Claim::Free),
        (&survey.pending, Claim::Pending),
        (lists, Claim::List),
        (&survey.claimed, Claim::Open),
    ];
    for (extents, claim) in kinds {
        others.extend(extents.iter().filter(|e| e.len > 0).map(|e| (*e, claim)));
    }
    others.sort_unstable();
    let mut others = others.into_iter().peekable();
    let mut extents = used.extents().map(|extent| (extent, Claim::Used)).peekable();
    let (mut at, mut last) = (2, Claim::Used);
    loop {
        let next = match (extents.peek(), others.peek()) {
            (Some(a), Some(b)) if b.0.start < a.0.start => others.next(),
            (Some(_), _) => extents.next(),
            (None, _) => others.next(),
        };
        let Some((extent, claim)) = next else { break };
        let stop = extent.start.saturating_add(extent.len);
        if extent.start > at {
            let gap = Extent {
                start: at,
                len: extent.start - at,
            };
            found(gap, "nothing has them, and they are not free either".into());
        }
        if extent.start < at && !(claim == Claim::Open || last == Claim::Open) {
            let both = Extent {
                start: extent.start,
                len: stop.min(at) - extent.start,
            };
            let what = format!("both {} and {} have them", last.name(), claim.name());
            found(both, what);
        }
        if stop > at {
            (at, last) = (stop, claim);
        }
    }
    if at < survey.end {
        let gap = Extent {
            start: at,
            len: survey.end - at,
        };
        found(gap, "nothing has them, and they are not free either".into());
    }
    if at > survey.end {
        let beyond = Extent {
            start: survey.end,
            len: at - survey.end,
        };
        found(
            beyond,
            format!("they lie past the end, yet {} has them", last.name()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(start: u64, len: u64) -> Extent {
        Extent { start, len }
    }

    #[test]
    fn pages_and_back() {
        let mut set = PageSet::default();
        let pages = [3, 4, 5, 63, 64, 65, CHUNK - 1, CHUNK, 9 * CHUNK];
        for page in pages {
            assert!(set.insert(page));
            assert!(!set.insert(page));
        }
        let seen: Vec<u64> = set.extents().flat_map(|e| e.start..e.start + e.len).collect();
        assert_eq!(seen, pages);
        assert_eq!(set.gaps(70), [extent(2, 1), extent(6, 57), extent(66, 4)]);
    }

    #[test]
    fn gaps_and_overlaps_are_named() {
        let mut used = PageSet::default();
        assert!((2..10).all(|page| used.insert(page)));
        let survey = Survey {
            end: 20,
            free: vec![extent(12, 3)],
            pending: vec![extent(14, 4)],
            claimed: vec![extent(8, 2)],
        };
        let mut found = Vec::new();
        balance(&used, &survey, &[extent(10, 1)], |extent, _| found.push(extent));
        assert_eq!(found, [extent(11, 1), extent(14, 1), extent(18, 2)]);
    }
}
