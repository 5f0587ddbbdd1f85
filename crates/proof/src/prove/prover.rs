//! From a query to its proof: which leaves it must show, then the way down to each.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use super::page::{PAGE_LEN_MAX, Page, PageEntry, middle};
use super::source::{Pages, Trees};
use crate::codec;
use crate::element::Element;
use crate::layer;
use crate::node::{Node, value_hash};
use crate::query::{Ask, Direction, Query, QueryError};
use crate::verify::PROOF_VERSION;

/// Why there is no proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProveError<E> {
    /// The query has no answer.
    Query(QueryError),
    /// The storage failed.
    Storage(E),
    /// The storage lacks a page, an element or a tree that another names.
    Damaged,
}

impl<E: fmt::Display> fmt::Display for ProveError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProveError::Query(error) => error.fmt(f),
            ProveError::Storage(error) => error.fmt(f),
            ProveError::Damaged => f.write_str("the tree lacks a page, an element or a subtree"),
        }
    }
}

impl<E: core::error::Error> core::error::Error for ProveError<E> {}

/// Room for most proofs of a key.
const PROOF_BYTES: usize = 1024;

/// The proof of what `trees` answer to `query`: the only one that [`verify`](crate::verify) accepts.
pub fn prove<T: Trees>(trees: &T, query: &Query) -> Result<Vec<u8>, ProveError<T::Error>> {
    query.check().map_err(ProveError::Query)?;
    let mut out = Vec::with_capacity(PROOF_BYTES);
    out.push(PROOF_VERSION);
    let mut path = Vec::new();
    tree(trees, &mut path, query, &mut out)?;
    Ok(out)
}

type Proven<T, E> = Result<T, ProveError<E>>;

fn tree<T: Trees>(
    trees: &T,
    path: &mut Vec<Vec<u8>>,
    query: &Query,
    out: &mut Vec<u8>,
) -> Proven<(), T::Error> {
    for segment in &query.path {
        if layer(trees, path, &Query::key(segment).ask, true, out)?.is_empty() {
            return Ok(());
        }
        path.push(segment.clone());
    }
    let below = match &query.ask {
        Ask::Entries(select) => select.below.as_ref(),
        Ask::Totals(_) => None,
    };
    let found = layer(trees, path, &query.ask, below.is_some(), out)?;
    let Some(below) = below else {
        return Ok(());
    };
    let depth = path.len();
    for key in found {
        path.push(key);
        tree(trees, path, below, out)?;
        path.truncate(depth);
    }
    Ok(())
}

/// Writes the layer of the tree at `path`; returns, if somebody `goes_on` from there, the entries asked for that are subtrees, in the direction of
/// the ask.
fn layer<T: Trees>(
    trees: &T,
    path: &[Vec<u8>],
    ask: &Ask,
    goes_on: bool,
    out: &mut Vec<u8>,
) -> Proven<Vec<Vec<u8>>, T::Error> {
    let pages = trees
        .tree(path)
        .map_err(ProveError::Storage)?
        .ok_or(ProveError::Damaged)?;
    let Some(top) = pages.topmost().map_err(ProveError::Storage)? else {
        out.push(layer::EMPTY);
        return Ok(vec![]);
    };
    let count = top.top().count;
    let mut plan = Plan {
        ask,
        count,
        shown: Vec::with_capacity(4),
        tree: Descent {
            pages: &pages,
            top: &top,
            way: Vec::with_capacity(usize::from(top.level())),
            last: None,
        },
    };
    plan.make()?;
    let (shown, way) = plan.into_shown();
    let mut emission = Emission {
        pages: &pages,
        way: &way,
        goes_on,
        out,
        found: Vec::new(),
    };
    if shown.is_empty() {
        emission.out.push(layer::UNSEEN);
        emission.hidden(&top.top());
    } else {
        emission.page(&top, 0, &shown)?;
    }
    let mut found = emission.found;
    if ask.direction() == Direction::Descending {
        found.reverse();
    }
    Ok(found)
}

/// Keys and ranks of a tree.
struct Descent<'a, P> {
    pages: &'a P,
    top: &'a Page,
    /// The pages below the topmost on the way down to the leaf page that was read last: proofs mostly stay close by.
    way: Vec<Arc<Page>>,
    /// The rank of the first entry of that leaf page.
    last: Option<u64>,
}

impl<P: Pages> Descent<'_, P> {
    /// The leaf page that was read last, and the rank of its first entry.
    fn last(&self) -> Option<(u64, &Page)> {
        let page = self.way.last().map_or(self.top, |page| page);
        Some((self.last?, page))
    }

    /// How many keys come before `bound`.
    fn rank(&mut self, bound: &[u8]) -> Proven<u64, P::Error> {
        let spans = |page: &Page| page.first_key() <= bound && bound <= page.key(page.len() - 1);
        if self.last().is_none_or(|(_, page)| !spans(page)) {
            self.descend(|page, _| page.find(bound).0)?;
        }
        let (first, page) = self.last().ok_or(ProveError::Damaged)?;
        Ok(first + page.find(bound).0 as u64)
    }

    /// Goes to the key of that rank.
    fn key(&mut self, rank: u64) -> Proven<&[u8], P::Error> {
        let holds = |(first, page): (u64, &Page)| (first..first + page.len() as u64).contains(&rank);
        if !self.last().is_some_and(holds) {
            self.descend(|page, first| {
                let mut end = first;
                let ends = (0..page.len()).map(|index| {
                    end += page.count(index);
                    end
                });
                1 + ends.take_while(|end| *end <= rank).count()
            })?;
        }
        let last = self.last().filter(|last| holds(*last));
        let (first, page) = last.ok_or(ProveError::Damaged)?;
        Ok(page.key((rank - first) as usize))
    }

    /// Goes down to a leaf page, into the child before the index that `past` gives for each page and its first rank.
    fn descend(&mut self, past: impl Fn(&Page, u64) -> usize) -> Proven<(), P::Error> {
        let (mut first, mut depth) = (0, 0);
        self.last = None;
        loop {
            let page = match depth {
                0 => self.top,
                _ => &*self.way[depth - 1],
            };
            if page.level() == 0 {
                break;
            }
            let index = past(page, first).clamp(1, page.len()) - 1;
            first += (0..index).map(|index| page.count(index)).sum::<u64>();
            let entry = page.entry(index);
            if self
                .way
                .get(depth)
                .is_none_or(|next| !is_child(next, page.level(), &entry))
            {
                let next = child(self.pages, page, &entry)?;
                self.way.truncate(depth);
                self.way.push(next);
            }
            depth += 1;
        }
        self.last = Some(first);
        Ok(())
    }
}

/// Whether a page is the one below that entry of a page of that level.
fn is_child(page: &Page, level: u8, entry: &PageEntry<'_>) -> bool {
    page.level() + 1 == level && page.first_key() == entry.key && page.top() == entry.node
}

fn child<P: Pages>(pages: &P, page: &Page, entry: &PageEntry<'_>) -> Proven<Arc<Page>, P::Error> {
    let level = page.level() - 1;
    pages
        .child(level, entry.key, &entry.node)
        .map_err(ProveError::Storage)?
        .filter(|page| page.level() == level)
        .ok_or(ProveError::Damaged)
}

/// Which leaves of a tree a proof shows, and with what.
struct Plan<'a, P> {
    ask: &'a Ask,
    count: u64,
    /// By rank: whether with its value. Some may come twice, and in another order than they have.
    shown: Vec<(u64, bool)>,
    tree: Descent<'a, P>,
}

impl<P: Pages> Plan<'_, P> {
    fn make(&mut self) -> Proven<(), P::Error> {
        let mut left = self.ask.limit().unwrap_or(u64::MAX);
        let ranges = self.ask.ranges();
        for index in 0..ranges.len() {
            let range = match self.ask.direction() {
                Direction::Ascending => &ranges[index],
                Direction::Descending => &ranges[ranges.len() - 1 - index],
            };
            let start = self.tree.rank(&range.start)?;
            let end = match &range.end {
                Some(end) => self.tree.rank(end)?,
                None => self.count,
            };
            self.range(start, end, &mut left)?;
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// The leaves in order, each once, and the pages on the way to where the last was looked for.
    fn into_shown(mut self) -> (Vec<(u64, bool)>, Vec<Arc<Page>>) {
        self.shown.sort_unstable_by_key(|(rank, _)| *rank);
        self.shown.dedup_by(|again, kept| {
            let same = again.0 == kept.0;
            kept.1 |= same && again.1;
            same
        });
        (self.shown, self.tree.way)
    }

    /// Shows what proves the entries from rank `start` to before `end`.
    fn range(&mut self, start: u64, end: u64, left: &mut u64) -> Proven<(), P::Error> {
        let ascending = self.ask.direction() == Direction::Ascending;
        let (open_near, open_far) = self.ask.open();
        let (near, far) = if ascending { (start, end) } else { (end, start) };
        let nth = |n: u64| if ascending { start + n } else { end - 1 - n };
        let counted = self.ask.offset().min(end - start);

        if counted > 0 && !open_near {
            self.show(nth(0), false);
        }
        if counted == 0 || !open_near {
            self.border(near)?;
        }
        let taken = (end - start - counted).min(*left);
        (counted..counted + taken).for_each(|n| self.show(nth(n), true));
        *left -= taken;
        if *left == 0 {
            return Ok(());
        }
        let only_counted = counted > 0 && taken == 0;
        if only_counted && !open_far {
            self.show(nth(counted - 1), false);
        }
        if !only_counted || !open_far {
            self.border(far)?;
        }
        Ok(())
    }

    /// Shows the neighbours before and at that rank, if the query asks for anything between them.
    fn border(&mut self, rank: u64) -> Proven<(), P::Error> {
        let (has_before, has_after) = (rank > 0, rank < self.count);
        let inside = |(first, page): &(u64, &Page)| *first < rank && rank < first + page.len() as u64;
        let meets = if let Some((first, page)) = self.tree.last().filter(inside) {
            let after = (rank - first) as usize;
            self.ask.meets(Some(page.key(after - 1)), Some(page.key(after)))
        } else {
            let before = match has_before {
                true => Some(self.tree.key(rank - 1)?.to_vec()),
                false => None,
            };
            let after = match has_after {
                true => Some(self.tree.key(rank)?),
                false => None,
            };
            self.ask.meets(before.as_deref(), after)
        };
        if meets {
            if has_before {
                self.show(rank - 1, false);
            }
            if has_after {
                self.show(rank, false);
            }
        }
        Ok(())
    }

    fn show(&mut self, rank: u64, value: bool) {
        self.shown.push((rank, value));
    }
}

/// A layer being written.
struct Emission<'a, P> {
    pages: &'a P,
    /// Pages on the way to some leaf, which are likely to be needed.
    way: &'a [Arc<Page>],
    /// Whether somebody wants to know which entries are subtrees.
    goes_on: bool,
    out: &'a mut Vec<u8>,
    /// The keys of entries shown with their value that are.
    found: Vec<Vec<u8>>,
}

impl<P: Pages> Emission<'_, P> {
    /// Writes a page whose first leaf has rank `first`; `shown` are the leaves to show below it, at least
    /// one.
    fn page(&mut self, page: &Page, first: u64, shown: &[(u64, bool)]) -> Proven<(), P::Error> {
        let mut ends = [0; PAGE_LEN_MAX];
        let mut end = first;
        for (index, at) in ends[..page.len()].iter_mut().enumerate() {
            end += page.count(index);
            *at = end;
        }
        self.nodes(page, &ends, (0, page.len()), shown)
    }

    /// Writes the node over a part of the page; `ends` are the ranks after each of the page's entries.
    fn nodes(
        &mut self,
        page: &Page,
        ends: &[u64; PAGE_LEN_MAX],
        (from, to): (usize, usize),
        shown: &[(u64, bool)],
    ) -> Proven<(), P::Error> {
        if to - from == 1 {
            let entry = page.entry(from);
            if page.level() == 0 {
                return self.leaf(&entry, shown[0].1);
            }
            let first = ends[from] - entry.node.count;
            let known = self.way.iter().find(|known| known.level() + 1 == page.level());
            return match known.filter(|known| is_child(known, page.level(), &entry)) {
                Some(known) => self.page(known, first, shown),
                None => self.page(&*child(self.pages, page, &entry)?, first, shown),
            };
        }
        let middle = middle(from, to);
        let (left, right) = shown.split_at(shown.partition_point(|(rank, _)| *rank < ends[middle - 1]));
        let shape = match (left.is_empty(), right.is_empty()) {
            (false, false) => layer::BOTH,
            (false, true) => layer::LEFT,
            _ => layer::RIGHT,
        };
        self.out.push(shape | page.level());
        for (shown, (from, to)) in [(left, (from, middle)), (right, (middle, to))] {
            if shown.is_empty() {
                self.hidden(&page.node(from, to));
            } else {
                self.nodes(page, ends, (from, to), shown)?;
            }
        }
        Ok(())
    }

    fn hidden(&mut self, node: &Node) {
        self.out.extend_from_slice(node.hash.as_bytes());
        codec::put_u128(self.out, u128::from(node.count));
        codec::put_i128(self.out, node.sum);
    }

    fn leaf(&mut self, entry: &PageEntry<'_>, with_value: bool) -> Proven<(), P::Error> {
        let (out, goes_on) = (&mut *self.out, self.goes_on);
        out.push(if with_value { layer::VALUE } else { layer::KEY });
        codec::put_bytes(out, entry.key);
        let written = self.pages.look_at_value(entry.key, |value| {
            if !with_value {
                out.extend_from_slice(value_hash(value).as_bytes());
                codec::put_i128(out, entry.node.sum);
                return Ok(false);
            }
            codec::put_bytes(out, value);
            if Element::is_item(value) || !goes_on {
                return Ok(false);
            }
            Element::decode(value).map(|element| element.subtree().is_some())
        });
        let written = written.map_err(ProveError::Storage)?.ok_or(ProveError::Damaged)?;
        if written.map_err(|_| ProveError::Damaged)? {
            self.found.push(entry.key.to_vec());
        }
        Ok(())
    }
}
