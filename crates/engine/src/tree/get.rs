//! Look-ups of single keys, and counts of ranges.

use super::branch::Branch;
use super::leaf::Leaf;
use super::{PageRead, Root, raw};
use crate::error::Result;
use crate::ids::PagePtr;
use crate::op::Entry;

/// What `key` is set to.
#[inline]
pub(crate) fn get<'p, R: PageRead<'p>>(pages: &R, root: Root, key: &[u8]) -> Result<Option<Entry<'p>>> {
    if root.is_empty() {
        return Ok(None);
    }
    let mut ptr = root.ptr;
    for level in (1..=root.level).rev() {
        let branch = Branch::new(pages.page(ptr, level)?);
        ptr = branch.child(branch.search(key));
    }
    Ok(Leaf::new(pages.page(ptr, 0)?).get(key))
}

/// Whether `key` is set to the same in both trees. Goes down both side by side, and no further than to a page that they share.
pub(crate) fn is_same<'p, R: PageRead<'p>>(pages: &R, was: Root, is: Root, key: &[u8]) -> Result<bool> {
    if was == is {
        return Ok(true);
    }
    if was.is_empty() || is.is_empty() || was.level != is.level {
        return Ok(get(pages, was, key)? == get(pages, is, key)?);
    }
    let (mut old, mut new) = (was.ptr, is.ptr);
    for level in (1..=was.level).rev() {
        for ptr in [&mut old, &mut new] {
            let branch = Branch::new(pages.page(*ptr, level)?);
            *ptr = branch.child(branch.search(key));
        }
        if old == new {
            return Ok(true);
        }
    }
    let (old, new) = (Leaf::new(pages.page(old, 0)?), Leaf::new(pages.page(new, 0)?));
    Ok(old.get(key) == new.get(key))
}

/// How many look-ups are under way at once: enough to hide the memory behind them, few enough for the cache's open requests.
const GROUP: usize = 16;

/// What each of `keys` is set to, in their order, whatever it is. The look-ups go down the tree side by side, so that the wait for
/// memory is shared; sorted keys gain most.
pub(crate) fn get_many<'p, R: PageRead<'p>>(
    pages: &R,
    root: Root,
    keys: &[&[u8]],
    mut found: impl FnMut(usize, Option<Entry<'p>>),
) -> Result<()> {
    if root.is_empty() {
        (0..keys.len()).for_each(|i| found(i, None));
        return Ok(());
    }
    for (group, keys) in keys.chunks(GROUP).enumerate() {
        let mut ptrs = [root.ptr; GROUP];
        for level in (1..=root.level).rev() {
            for (ptr, key) in ptrs.iter_mut().zip(keys) {
                let branch = Branch::new(pages.page(*ptr, level)?);
                *ptr = branch.child(branch.search(key));
                pages.prefetch(*ptr);
            }
        }
        let mut candidates = [None; GROUP];
        for ((candidate, ptr), key) in candidates.iter_mut().zip(ptrs).zip(keys) {
            let leaf = Leaf::new(pages.page(ptr, 0)?);
            if let Some(index) = leaf.candidate(key) {
                raw::prefetch(leaf.cell_start(index));
                *candidate = Some((leaf, index));
            }
        }
        for (i, (candidate, key)) in candidates.iter().zip(keys).enumerate() {
            let entry = candidate.and_then(|(leaf, index)| leaf.get_at(index, key));
            found(group * GROUP + i, entry);
        }
    }
    Ok(())
}

/// About how many of a tree's `len` entries lie from `start` up to `end` (`None`: no end). Reads two pages a level. Exact when both ends
/// fall into one leaf; otherwise as good as the tree is balanced, within a few tens of percent for wide ranges.
pub(crate) fn estimate<'p, R: PageRead<'p>>(
    pages: &R,
    root: Root,
    len: u64,
    start: &[u8],
    end: Option<&[u8]>,
) -> Result<u64> {
    if root.is_empty() || end.is_some_and(|end| end <= start) {
        return Ok(0);
    }
    let from = Place::of(pages, root, start)?;
    let Some(end) = end else {
        return Ok(((1.0 - from.share) * len as f64).round() as u64);
    };
    let to = Place::of(pages, root, end)?;
    if from.leaf == to.leaf {
        return Ok(to.index.saturating_sub(from.index) as u64);
    }
    let share = (to.share - from.share).max(0.0);
    Ok(((share * len as f64).round() as u64).max(1))
}

/// Where a key is, or would be.
struct Place {
    leaf: PagePtr,
    index: usize,
    /// Which share of the tree comes before it, were all pages of a level equally full.
    share: f64,
}

impl Place {
    fn of<'p, R: PageRead<'p>>(pages: &R, root: Root, key: &[u8]) -> Result<Place> {
        let mut ptr = root.ptr;
        let (mut share, mut width) = (0.0, 1.0);
        let mut narrow = |index: usize, count: usize| {
            width /= count as f64;
            share += width * index as f64;
        };
        for level in (1..=root.level).rev() {
            let branch = Branch::new(pages.page(ptr, level)?);
            let index = branch.search(key);
            narrow(index, branch.count());
            ptr = branch.child(index);
        }
        let leaf = Leaf::new(pages.page(ptr, 0)?);
        let index = leaf.search(key).unwrap_or_else(|index| index);
        narrow(index, leaf.count());
        Ok(Place {
            leaf: ptr,
            index,
            share,
        })
    }
}

/// How many entries lie from `start` up to `end` (`None`: no end). Reads the header of every leaf between them.
pub(crate) fn count<'p, R: PageRead<'p>>(
    pages: &R,
    root: Root,
    start: &[u8],
    end: Option<&[u8]>,
) -> Result<u64> {
    if root.is_empty() || end.is_some_and(|end| end <= start) {
        return Ok(0);
    }
    count_node(pages, root.level, root.ptr, Some(start), end)
}

/// [`count`] in a subtree; `None` where a bound lies outside.
fn count_node<'p, R: PageRead<'p>>(
    pages: &R,
    level: u8,
    ptr: PagePtr,
    start: Option<&[u8]>,
    end: Option<&[u8]>,
) -> Result<u64> {
    let page = pages.page(ptr, level)?;
    if level == 0 {
        let leaf = Leaf::new(page);
        let place = |key| leaf.search(key).unwrap_or_else(|place| place);
        let from = start.map_or(0, place);
        let to = end.map_or(leaf.count(), place);
        return Ok(to.saturating_sub(from) as u64);
    }
    let branch = Branch::new(page);
    let first = start.map_or(0, |start| branch.search(start));
    let last = end.map_or(branch.count() - 1, |end| branch.search(end));
    let mut sum = 0;
    for i in first..=last {
        let start = start.filter(|_| i == first);
        let end = end.filter(|_| i == last);
        sum += count_node(pages, level - 1, branch.child(i), start, end)?;
    }
    Ok(sum)
}
