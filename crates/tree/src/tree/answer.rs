//! Answering queries from entries, without a proof.

use weald_engine::Iter;
use weald_proof::{
    Answer, Ask, Direction, Element, Entry, Hash, Node, Query, Range, Reference, Select, Totals,
};

use super::Path;
use super::meter::Meter;
use super::reader::{Reader, check_path};
use super::record::{Located, Stored, Top};
use crate::error::{Error, Result};

/// So many references in a row are followed.
const HOPS_MAX: usize = 16;

/// A state of the store in which questions are answered.
pub(crate) trait Ground {
    fn reader<'a>(&'a self, meter: Meter<'a>) -> Result<Reader<'a>>;

    /// The top of the subtree at a path, with what the transaction itself has changed there.
    fn top(&self, reader: &Reader<'_>, tree: &Located) -> Result<Option<Top>>;

    /// The root hash over everything.
    fn root_hash(&self, meter: Meter<'_>) -> Result<Hash> {
        let top = self.top(&self.reader(meter)?, &Located::new(Vec::new()))?;
        meter.hashes(1);
        Ok(Node::root(top.map(|top| top.node).as_ref()))
    }

    fn element(&self, meter: Meter<'_>, path: &[&[u8]], key: &[u8]) -> Result<Option<Element>> {
        let reader = self.reader(meter)?;
        let tree = reader.locate(path)?;
        let element = reader.element(&tree, key, |subtree| self.top(&reader, &subtree))?;
        if meter.is_on() {
            meter.loaded(element.as_ref().map_or(0, |element| element.encode().len()));
        }
        Ok(element)
    }

    /// What `key` holds, or what the references that begin there lead to.
    fn followed(&self, meter: Meter<'_>, path: &[&[u8]], key: &[u8]) -> Result<Option<Element>> {
        let Some(mut element) = self.element(meter, path, key)? else {
            return Ok(None);
        };
        let mut path: Path = path.iter().map(|segment| segment.to_vec()).collect();
        for _ in 0..HOPS_MAX {
            let Element::Reference(reference) = &element else {
                return Ok(Some(element));
            };
            let (tree, key) = target(reference, &path)?;
            let segments: Vec<&[u8]> = tree.iter().map(Vec::as_slice).collect();
            element = match self.element(meter, &segments, &key) {
                Ok(Some(element)) => element,
                Ok(None) | Err(Error::NoSubtree { .. }) => return Err(Error::DanglingReference),
                Err(error) => return Err(error),
            };
            path = tree;
        }
        match element {
            Element::Reference(_) => Err(Error::ReferenceLoop { max: HOPS_MAX }),
            element => Ok(Some(element)),
        }
    }

    fn answer(&self, meter: Meter<'_>, query: &Query) -> Result<Answer> {
        query.check().map_err(Error::Query)?;
        let reader = self.reader(meter)?;
        let outermost = Located::new(Vec::new());
        self.answer_at(&reader, outermost, query)
    }

    fn answer_at(&self, reader: &Reader<'_>, mut tree: Located, query: &Query) -> Result<Answer> {
        for (depth, segment) in query.path.iter().enumerate() {
            match reader.slot(&tree, segment)? {
                Some(slot) if slot.kind.is_some() => tree = reader.child(&tree, segment, slot.generation),
                _ => return Ok(Answer::NoSubtree { depth }),
            }
        }
        match &query.ask {
            Ask::Entries(select) => Ok(Answer::Entries(self.entries(reader, &tree, select)?)),
            Ask::Totals(range) => Ok(Answer::Totals(self.totals(reader, &tree, range)?)),
        }
    }

    fn entries(&self, reader: &Reader<'_>, tree: &Located, select: &Select) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut skip = select.offset;
        let limit = select.limit.unwrap_or(u64::MAX);
        let descending = select.direction == Direction::Descending;
        let ranges: Box<dyn Iterator<Item = &Range> + '_> = if descending {
            Box::new(select.ranges.iter().rev())
        } else {
            Box::new(select.ranges.iter())
        };
        for range in ranges {
            let mut found = within(reader, tree, range);
            while (entries.len() as u64) < limit {
                let next = if descending {
                    found.next_back()
                } else {
                    found.next()
                };
                reader.meter.seek();
                let Some(pair) = next else { break };
                let (key, stored) = pair?;
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                entries.push(self.entry(reader, tree, (Located::entry_of(key), stored), select)?);
            }
        }
        Ok(entries)
    }

    fn entry(
        &self,
        reader: &Reader<'_>,
        tree: &Located,
        (key, stored): (&[u8], &[u8]),
        select: &Select,
    ) -> Result<Entry> {
        let stored = Stored::decode(stored)?;
        let below = match (&select.below, &stored) {
            (Some(query), Stored::Subtree { generation, .. }) => {
                let answer = self.answer_at(reader, reader.child(tree, key, *generation), query)?;
                Some(Box::new(answer))
            }
            _ => None,
        };
        let element = reader.complete(stored, tree, key, |subtree| self.top(reader, &subtree))?;
        if reader.meter.is_on() {
            reader.meter.loaded(key.len() + element.encode().len());
        }
        Ok(Entry {
            key: key.to_vec(),
            element,
            below,
        })
    }

    /// By looking at every entry: the number of them is the cost.
    fn totals(&self, reader: &Reader<'_>, tree: &Located, range: &Range) -> Result<Totals> {
        let mut totals = Totals { count: 0, sum: 0 };
        for pair in within(reader, tree, range) {
            let (key, stored) = pair?;
            reader.meter.seek();
            let (key, stored) = (Located::entry_of(key), Stored::decode(stored)?);
            let element = reader.complete(stored, tree, key, |subtree| self.top(reader, &subtree))?;
            totals.count += 1;
            totals.sum = totals.sum.checked_add(element.sum()).ok_or(Error::Overflow)?;
        }
        Ok(totals)
    }
}

/// Where a reference that is held in the tree at `path` leads.
fn target(reference: &Reference, path: &[Vec<u8>]) -> Result<(Path, Vec<u8>)> {
    let (path, key) = reference.target(path).ok_or(Error::DanglingReference)?;
    check_path(path.len()).map_err(|_| Error::DanglingReference)?;
    Ok((path, key))
}

pub(crate) fn within<'t>(reader: &Reader<'t>, tree: &Located, range: &Range) -> Iter<'t> {
    let start = std::ops::Bound::Included(tree.key(&range.start));
    let end = match &range.end {
        Some(end) => tree.key(end),
        None => tree.entries_end(),
    };
    reader.trees.range((start, std::ops::Bound::Excluded(end)))
}
