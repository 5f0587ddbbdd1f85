//! How trees are written in buckets.

use std::sync::LazyLock;

use weald_proof::{Element, Hash, Node, prefix};

use crate::error::{Error, Result};
use crate::family::PREFIX_LEN;

/// What a record under a tree's prefix is.
const ENTRY: &[u8] = b"e";
const AFTER_ENTRIES: &[u8] = b"f";
const SLOT: &[u8] = b"g";
const NODE: &[u8] = b"n";
const TOP: &[u8] = b"t";

/// What a subtree tells of itself where it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeKind {
    /// Its root hash: [`Element::Tree`].
    Plain,
    /// Its sum as well, which counts in the tree that holds it: [`Element::SumTree`].
    Sum,
    /// Its number of entries as well: [`Element::CountTree`].
    Count,
}

impl TreeKind {
    fn tag(self) -> u8 {
        match self {
            TreeKind::Plain => 2,
            TreeKind::Sum => 3,
            TreeKind::Count => 4,
        }
    }

    fn of_tag(tag: u8) -> Option<TreeKind> {
        [TreeKind::Plain, TreeKind::Sum, TreeKind::Count]
            .into_iter()
            .find(|kind| kind.tag() == tag)
    }

    /// The element that holds a subtree with that top.
    pub(crate) fn element(self, top: Option<&Top>) -> Element {
        let node = top.map(|top| top.node);
        let root = Node::root(node.as_ref());
        match self {
            TreeKind::Plain => Element::Tree(root),
            TreeKind::Sum => Element::SumTree {
                root,
                sum: node.map_or(0, |node| node.sum),
            },
            TreeKind::Count => Element::CountTree {
                root,
                count: node.map_or(0, |node| node.count),
            },
        }
    }
}

/// What a key holds, as it is stored: subtrees without what depends on their contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Element(Element),
    Subtree { kind: TreeKind, generation: u64 },
}

impl Stored {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Stored::Element(element) => element.encode(),
            Stored::Subtree { kind, generation } => {
                let mut out = vec![kind.tag()];
                out.extend_from_slice(&generation.to_le_bytes());
                out
            }
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Stored> {
        if let Some((tag, rest)) = bytes.split_first()
            && let Some(kind) = TreeKind::of_tag(*tag)
        {
            let generation = rest
                .try_into()
                .map_err(|_| Error::damaged("an entry is no subtree"))?;
            return Ok(Stored::Subtree {
                kind,
                generation: u64::from_le_bytes(generation),
            });
        }
        let element = Element::decode(bytes).map_err(|_| Error::damaged("an entry is no element"))?;
        Ok(Stored::Element(element))
    }
}

/// The place of a subtree in the tree that holds it: how often there was one, and whether there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) generation: u64,
    /// `None` if it was dropped.
    pub(crate) kind: Option<TreeKind>,
}

impl Slot {
    pub(crate) fn encode(self) -> [u8; 9] {
        let mut out = [0; 9];
        out[..8].copy_from_slice(&self.generation.to_le_bytes());
        out[8] = self.kind.map_or(0, TreeKind::tag);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Slot> {
        let damaged = || Error::damaged("the place of a subtree can't be read");
        let (generation, tag) = bytes.split_first_chunk().ok_or_else(damaged)?;
        let kind = match tag {
            [0] => None,
            [tag] => Some(TreeKind::of_tag(*tag).ok_or_else(damaged)?),
            _ => return Err(damaged()),
        };
        Ok(Slot {
            generation: u64::from_le_bytes(*generation),
            kind,
        })
    }
}

/// The top of a tree that has entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Top {
    pub(crate) level: u8,
    pub(crate) node: Node,
}

impl Top {
    /// Bytes of it as it is stored.
    pub(crate) const LEN: usize = 1 + 32 + 8 + 16;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Top::LEN);
        out.push(self.level);
        out.extend_from_slice(self.node.hash.as_bytes());
        out.extend_from_slice(&self.node.count.to_le_bytes());
        out.extend_from_slice(&self.node.sum.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Top> {
        let read = || {
            let (level, rest) = bytes.split_first()?;
            let (hash, rest) = rest.split_first_chunk()?;
            let (count, sum) = rest.split_first_chunk()?;
            let node = Node {
                hash: Hash(*hash),
                count: u64::from_le_bytes(*count),
                sum: i128::from_le_bytes(sum.try_into().ok()?),
            };
            Some(Top { level: *level, node })
        };
        read().ok_or(Error::damaged("the top of a tree can't be read"))
    }
}

/// Where a tree is: the segments that lead there, each with its generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) steps: Vec<(Vec<u8>, u64)>,
    pub(crate) prefix: [u8; PREFIX_LEN],
}

impl Located {
    pub(crate) fn new(steps: Vec<(Vec<u8>, u64)>) -> Located {
        static OUTERMOST: LazyLock<Hash> = LazyLock::new(|| prefix([]));
        let prefix = if steps.is_empty() {
            *OUTERMOST
        } else {
            prefix(
                steps
                    .iter()
                    .map(|(segment, generation)| (&segment[..], *generation)),
            )
        };
        Located {
            prefix: *prefix.as_bytes(),
            steps,
        }
    }

    pub(crate) fn child(&self, key: &[u8], generation: u64) -> Located {
        let mut steps = self.steps.clone();
        steps.push((key.to_vec(), generation));
        Located::new(steps)
    }

    /// The tree that holds this one; the outermost holds itself.
    pub(crate) fn holder(&self) -> Located {
        let within = self.steps.len().saturating_sub(1);
        Located::new(self.steps[..within].to_vec())
    }

    /// Whether it is at that path.
    pub(crate) fn is_at<S: AsRef<[u8]>>(&self, path: &[S]) -> bool {
        self.steps
            .iter()
            .map(|(segment, _)| &segment[..])
            .eq(path.iter().map(AsRef::as_ref))
    }

    /// Of an entry.
    pub(crate) fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix[..], ENTRY, key].concat()
    }

    /// The key of the entry that is stored there.
    pub(crate) fn entry_of(stored: &[u8]) -> &[u8] {
        &stored[PREFIX_LEN + ENTRY.len()..]
    }

    /// The first place after all entries.
    pub(crate) fn entries_end(&self) -> Vec<u8> {
        [&self.prefix[..], AFTER_ENTRIES].concat()
    }

    pub(crate) fn top_key(&self) -> Vec<u8> {
        [&self.prefix[..], TOP].concat()
    }

    pub(crate) fn slot_key(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix[..], SLOT, key].concat()
    }

    /// Of an entry of a page.
    pub(crate) fn node_key(&self, level: u8, key: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.node_key_len() + key.len());
        self.put_node_key(level, key, &mut out);
        out
    }

    /// Appends the same to other bytes.
    pub(crate) fn put_node_key(&self, level: u8, key: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix);
        out.extend_from_slice(NODE);
        out.push(level);
        out.extend_from_slice(key);
    }

    /// How long the key of a node is but for the key itself.
    pub(crate) fn node_key_len(&self) -> usize {
        PREFIX_LEN + NODE.len() + 1
    }

    /// The first place after all nodes of a level.
    pub(crate) fn level_end(&self, level: u8) -> Vec<u8> {
        self.node_key(level.saturating_add(1), b"")
    }

    /// Its steps, each as length, segment and generation.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (segment, generation) in &self.steps {
            out.extend_from_slice(&(segment.len() as u64).to_le_bytes());
            out.extend_from_slice(segment);
            out.extend_from_slice(&generation.to_le_bytes());
        }
        out
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Located> {
        let mut steps = Vec::new();
        let mut step = || {
            let (len, rest) = bytes.split_first_chunk()?;
            let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
            let (segment, rest) = rest.split_at_checked(len)?;
            let (generation, rest) = rest.split_first_chunk()?;
            bytes = rest;
            Some((
                (segment.to_vec(), u64::from_le_bytes(*generation)),
                rest.is_empty(),
            ))
        };
        loop {
            let (next, last) = step().ok_or(Error::damaged("a dropped tree's path can't be read"))?;
            steps.push(next);
            if last {
                return Ok(Located::new(steps));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_cut_ones_are_refused() {
        let stored = [
            Stored::Element(Element::Item(vec![1, 2])),
            Stored::Element(Element::SumItem(-5)),
            Stored::Subtree {
                kind: TreeKind::Sum,
                generation: 7,
            },
        ];
        for stored in stored {
            assert_eq!(Stored::decode(&stored.encode()).unwrap(), stored);
        }
        assert!(Stored::decode(&[]).is_err());
        assert!(Stored::decode(&[3, 1]).is_err());
        let slot = Slot {
            generation: 3,
            kind: Some(TreeKind::Count),
        };
        assert_eq!(Slot::decode(&slot.encode()).unwrap(), slot);
        assert!(Slot::decode(&slot.encode()[..8]).is_err());
        let top = Top {
            level: 2,
            node: Node {
                hash: Hash([9; 32]),
                count: 4,
                sum: -4,
            },
        };
        assert_eq!(Top::decode(&top.encode()).unwrap(), top);
        assert!(Top::decode(&top.encode()[..56]).is_err());
        let located = Located::new(vec![(b"a".to_vec(), 1), (vec![], 0)]);
        assert_eq!(Located::decode(&located.encode()).unwrap(), located);
        for len in 0..located.encode().len() {
            assert!(Located::decode(&located.encode()[..len]).is_err() || len == 17);
        }
    }
}
