//! Where pages begin: a pure function of the keys, that nobody can steer far.
//!
//! On level l a key whose height is above l begins a page, which is one key in sixteen by chance, and settles
//! where an ordinary page is cut without a look at its neighbours. But heights can be chosen, by trying keys
//! until their hashes please. A run of more than [`PAGE_LEN_MAX`] keys without a high one is therefore
//! *thinned*: a rule without chance keeps every second or third key of it, three times over, so that what
//! begins a page is 8 to 27 keys apart, whatever the keys.
//!
//! Thinning is deterministic coin tossing, after Cole and Vishkin. Each key is labelled with the first bit in
//! which it differs from the key before. Neighbours never have the same label: at that bit the one key
//! ascends from 0 to 1, and the next would have to as well. Replacing each label by the lowest bit in which
//! it differs from the one before, and that bit's value, keeps neighbours different and makes labels small:
//! below 6 after four times. Local maxima of such labels are 2 to 10 apart; what lies between is cut in twos,
//! the last one a three if need be.
//!
//! A label depends on six keys, so a change is felt nearby only: that is what bounds the work of an update.

use alloc::vec::Vec;

use super::page::{PAGE_LEN_MAX, PageEntry};

/// Beyond so many entries before a change, cuts stay where they were.
pub(crate) const FELT_BEFORE: usize = 26;

/// Beyond so many entries after it, too.
pub(crate) const FELT_AFTER: usize = 208;

/// Where pages begin in a whole level, or in a part of it that begins and ends where pages do for their
/// height's sake.
pub(crate) fn cuts(level: u8, entries: &[PageEntry<'_>]) -> Vec<usize> {
    let mut cuts = Vec::new();
    for (from, to) in runs(level, entries) {
        if to - from <= PAGE_LEN_MAX {
            cuts.push(from);
        } else {
            cuts.extend(thinned(&entries[from..to]).into_iter().map(|cut| from + cut));
        }
    }
    cuts
}

/// The runs that begin at the first entry and at each that is high enough.
pub(crate) fn runs(level: u8, entries: &[PageEntry<'_>]) -> impl Iterator<Item = (usize, usize)> {
    let high = move |entry: &PageEntry<'_>| entry.height > level;
    let mut from = 0;
    core::iter::from_fn(move || {
        let first = from;
        let rest = entries.get(first + 1..)?;
        from = rest
            .iter()
            .position(high)
            .map_or(entries.len(), |next| first + 1 + next);
        Some((first, from))
    })
}

/// Where pages begin in a long run.
pub(crate) fn thinned(run: &[PageEntry<'_>]) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..run.len()).collect();
    for _ in 0..3 {
        let keys: Vec<&[u8]> = kept.iter().map(|&index| run[index].key).collect();
        kept = thin(&keys).into_iter().map(|index| kept[index]).collect();
    }
    kept
}

/// Times that labels are made smaller: from any 64 bits to below 128, 14, 8 and 6.
const REDUCTIONS: usize = 4;

/// Every second or third of two keys or more.
fn thin(keys: &[&[u8]]) -> Vec<usize> {
    // labels[i] belongs to key i + 1 + the times that labels were reduced, because it took as many keys
    // before.
    let mut labels: Vec<u64> = keys
        .windows(2)
        .map(|pair| first_difference(pair[0], pair[1]))
        .collect();
    for _ in 0..REDUCTIONS {
        labels = labels
            .windows(2)
            .map(|pair| lowest_difference(pair[0], pair[1]))
            .collect();
    }
    let maxima = labels
        .windows(3)
        .enumerate()
        .filter(|(_, three)| three[1] > three[0] && three[1] > three[2]);
    let ends = maxima
        .map(|(index, _)| index + REDUCTIONS + 2)
        .chain([keys.len()]);

    let mut kept = Vec::with_capacity(keys.len() / 2);
    let mut from = 0;
    for end in ends {
        while end - from >= 4 {
            kept.push(from);
            from += 2;
        }
        kept.push(from);
        from = end;
    }
    kept
}

/// The first bit in which two ascending keys differ, counting nine for each byte: the first says that there
/// is a byte.
fn first_difference(before: &[u8], key: &[u8]) -> u64 {
    let same = before.iter().zip(key).take_while(|(a, b)| a == b).count();
    let bit = match (before.get(same), key.get(same)) {
        (Some(a), Some(b)) => 1 + (a ^ b).leading_zeros(),
        _ => 0,
    };
    9 * same as u64 + u64::from(bit)
}

/// The lowest bit in which a label differs from the one before it, and its value.
fn lowest_difference(before: u64, label: u64) -> u64 {
    let bit = (before ^ label).trailing_zeros();
    2 * u64::from(bit) + (label >> bit & 1)
}

#[cfg(test)]
mod tests;
