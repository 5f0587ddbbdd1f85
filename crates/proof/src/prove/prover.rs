//! From a query to its proof: which leaves it must show, then the way down to each.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use super::page::{Page, PageEntry, middle};
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
        let found = layer(trees, path, &Query::key(segment).ask, out)?;
        if !found.iter().any(|(_, element)| element.subtree().is_some()) {
            return Ok(());
        }
        path.push(segment.clone());
    }
    let found = layer(trees, path, &query.ask, out)?;
    let Ask::Entries(select) = &query.ask else {
        return Ok(());
    };
    let Some(below) = &select.below else {
        return Ok(());
    };
    let depth = path.len();
    for (key, _) in found
        .into_iter()
        .filter(|(_, element)| element.subtree().is_some())
    {
        path.push(key);
        tree(trees, path, below, out)?;
        path.truncate(depth);
    }
    Ok(())
}

/// Writes the layer of the tree at `path`; returns the entries asked for, in the direction of the ask.
fn layer<T: Trees>(
    trees: &T,
    path: &[Vec<u8>],
    ask: &Ask,
    out: &mut Vec<u8>,
) -> Proven<Vec<(Vec<u8>, Element)>, T::Error> {
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
        shown: BTreeMap::new(),
        tree: Descent {
            pages: &pages,
            top: top.clone(),
            last: None,
        },
    };
    plan.make()?;
    let shown: Vec<(u64, bool)> = plan.shown.into_iter().collect();
    let mut emission = Emission {
        pages: &pages,
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
    top: Arc<Page>,
    /// The leaf page that was read last, and the rank of its first entry.
    last: Option<(u64, Arc<Page>)>,
}

impl<P: Pages> Descent<'_, P> {
    /// How many keys come before `bound`.
    fn rank(&mut self, bound: &[u8]) -> Proven<u64, P::Error> {
        let (rank, page) = self.leaf_page(|page, _| page.find(bound).0)?;
        Ok(rank + page.find(bound).0 as u64)
    }

    /// The key of that rank.
    fn key(&mut self, rank: u64) -> Proven<Vec<u8>, P::Error> {
        let holds = |(first, page): &(u64, Arc<Page>)| (*first..first + page.len() as u64).contains(&rank);
        let (first, page) = match &self.last {
            Some(last) if holds(last) => last.clone(),
            _ => self.leaf_page(|page, first| {
                let mut end = first;
                let ends = page.entries().map(|entry| {
                    end += entry.node.count;
                    end
                });
                1 + ends.take_while(|end| *end <= rank).count()
            })?,
        };
        let index = (rank - first) as usize;
        if index >= page.len() {
            return Err(ProveError::Damaged);
        }
        Ok(page.entry(index).key.to_vec())
    }

    /// Goes down to a leaf page, into the child before the index that `past` gives for each page and its
    /// first rank.
    fn leaf_page(&mut self, past: impl Fn(&Page, u64) -> usize) -> Proven<(u64, Arc<Page>), P::Error> {
        let (mut first, mut page) = (0, self.top.clone());
        while page.level() > 0 {
            let index = past(&page, first).clamp(1, page.len()) - 1;
            first += page
                .entries()
                .take(index)
                .map(|entry| entry.node.count)
                .sum::<u64>();
            page = self.child(&page, page.entry(index))?;
        }
        self.last = Some((first, page.clone()));
        Ok((first, page))
    }

    fn child(&self, page: &Page, entry: PageEntry<'_>) -> Proven<Arc<Page>, P::Error> {
        if let Some((_, last)) = &self.last
            && page.level() == 1
            && last.first_key() == entry.key
        {
            return Ok(last.clone());
        }
        self.pages
            .child(page.level() - 1, entry.key, &entry.node)
            .map_err(ProveError::Storage)?
            .ok_or(ProveError::Damaged)
    }
}

/// Which leaves of a tree a proof shows, and with what.
struct Plan<'a, P> {
    ask: &'a Ask,
    count: u64,
    /// By rank: whether with its value.
    shown: BTreeMap<u64, bool>,
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
        let before = if rank > 0 {
            Some(self.tree.key(rank - 1)?)
        } else {
            None
        };
        let after = if rank < self.count {
            Some(self.tree.key(rank)?)
        } else {
            None
        };
        if self.ask.meets(before.as_deref(), after.as_deref()) {
            if before.is_some() {
                self.show(rank - 1, false);
            }
            if after.is_some() {
                self.show(rank, false);
            }
        }
        Ok(())
    }

    fn show(&mut self, rank: u64, value: bool) {
        *self.shown.entry(rank).or_insert(value) |= value;
    }
}

/// A layer being written.
struct Emission<'a, P> {
    pages: &'a P,
    out: &'a mut Vec<u8>,
    /// Entries shown with their value.
    found: Vec<(Vec<u8>, Element)>,
}

impl<P: Pages> Emission<'_, P> {
    /// Writes a page whose first leaf has rank `first`; `shown` are the leaves to show below it, at least
    /// one.
    fn page(&mut self, page: &Page, first: u64, shown: &[(u64, bool)]) -> Proven<(), P::Error> {
        let mut ends = Vec::with_capacity(page.len());
        let mut end = first;
        for entry in page.entries() {
            end += entry.node.count;
            ends.push(end);
        }
        self.nodes(page, &ends, (0, page.len()), shown)
    }

    /// Writes the node over a part of the page; `ends` are the ranks after each of the page's entries.
    fn nodes(
        &mut self,
        page: &Page,
        ends: &[u64],
        (from, to): (usize, usize),
        shown: &[(u64, bool)],
    ) -> Proven<(), P::Error> {
        if to - from == 1 {
            let entry = page.entry(from);
            if page.level() == 0 {
                return self.leaf(entry.key, &entry.node, shown[0].1);
            }
            let child = self
                .pages
                .child(page.level() - 1, entry.key, &entry.node)
                .map_err(ProveError::Storage)?;
            return self.page(
                &*child.ok_or(ProveError::Damaged)?,
                ends[from] - entry.node.count,
                shown,
            );
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

    fn leaf(&mut self, key: &[u8], node: &Node, with_value: bool) -> Proven<(), P::Error> {
        let value = self
            .pages
            .value(key)
            .map_err(ProveError::Storage)?
            .ok_or(ProveError::Damaged)?;
        self.out.push(if with_value { layer::VALUE } else { layer::KEY });
        codec::put_bytes(self.out, key);
        if with_value {
            codec::put_bytes(self.out, &value);
            let element = Element::decode(&value).map_err(|_| ProveError::Damaged)?;
            self.found.push((key.to_vec(), element));
        } else {
            self.out.extend_from_slice(value_hash(&value).as_bytes());
            codec::put_i128(self.out, node.sum);
        }
        Ok(())
    }
}
