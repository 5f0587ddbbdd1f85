//! One tree of a proof: its leaves as far as they are shown, and what lies between them.
//!
//! A layer is written from the root down, left before right. Which of its parts are left out is said by the
//! inner node above them, and one with both children left out cannot be written: it is left out itself.
//!
//! ```text
//! layer  = EMPTY | UNSEEN hidden | node
//! node   = BOTH+level node node | RIGHT+level hidden node | LEFT+level node hidden | leaf
//! hidden = hash[32] count sum
//! leaf   = VALUE key value | KEY key hash[32] sum
//! ```

use alloc::vec::Vec;

use crate::codec::{Fault, Malformed, Reader};
use crate::element::Element;
use crate::error::Error;
use crate::hash::Hash;
use crate::node::{DEPTH_MAX, LEVELS_MAX, Node, value_hash};
use crate::planted::{Check, left_out};

/// A leaf without its value.
pub(crate) const KEY: u8 = 0;
/// A leaf with its value.
pub(crate) const VALUE: u8 = 1;
/// A tree without entries.
pub(crate) const EMPTY: u8 = 2;
/// A tree of which only the totals matter.
pub(crate) const UNSEEN: u8 = 3;
/// An inner node of which both children follow; the lower bits are the level of its page.
pub(crate) const BOTH: u8 = 0x40;
/// An inner node of which only the left child is shown.
pub(crate) const LEFT: u8 = 0x80;
/// An inner node of which only the right child is shown.
pub(crate) const RIGHT: u8 = 0xc0;

const SHAPE: u8 = 0xc0;

/// A proof of a key has some 800 bytes and three parts or five; in that of a range there is a part for each key and value.
const PART_BYTES: usize = 160;
const PARTS_MAX: usize = 128;

/// What a layer shows, in the order of the keys.
pub(crate) enum Part<'p> {
    Leaf(Leaf<'p>),
    Gap(Totals),
}

/// A leaf that is shown.
pub(crate) struct Leaf<'p> {
    pub(crate) key: &'p [u8],
    /// `None` if only its hash is shown.
    pub(crate) value: Option<Value<'p>>,
    pub(crate) sum: i128,
}

/// An encoded element. It is decoded only after all hashes were found right: elements can take far more room
/// than their bytes.
#[derive(Clone, Copy)]
pub(crate) struct Value<'p> {
    bytes: &'p [u8],
    /// Where it is in the proof.
    at: usize,
}

impl Value<'_> {
    pub(crate) fn element(&self) -> Result<Element, Error> {
        Element::decode(self.bytes).map_err(|fault| self.fault(fault).into())
    }

    fn fault(&self, fault: Malformed) -> Malformed {
        Malformed {
            at: self.at + fault.at,
            ..fault
        }
    }
}

/// How many entries, and their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many entries there are.
    pub count: u64,
    /// The sum of what they contribute.
    pub sum: i128,
}

impl Totals {
    pub(crate) fn add(self, other: Totals) -> Option<Totals> {
        let count = self.count.checked_add(other.count)?;
        Some(Totals {
            count,
            sum: self.sum.checked_add(other.sum)?,
        })
    }
}

/// A layer whose hashes lead to the root that was asked for.
pub(crate) struct Layer<'p> {
    pub(crate) parts: Vec<Part<'p>>,
    /// Of the whole tree.
    pub(crate) totals: Totals,
}

impl<'p> Layer<'p> {
    /// Reads a layer and compares its root hash with `root`.
    pub(crate) fn read(reader: &mut Reader<'p>, root: &Hash) -> Result<Layer<'p>, Error> {
        // As a rule one in so many bytes; no room is made for more than some kilobytes before there is something in it.
        let parts = (reader.left() / PART_BYTES).clamp(1, PARTS_MAX);
        let mut walk = Walk {
            reader,
            parts: Vec::with_capacity(parts),
            last: None,
        };
        let top = walk.top()?;
        let parts = walk.parts;
        if Node::root(top.as_ref()) != *root && !left_out(Check::Root) {
            return Err(Error::Root { at: reader.at() });
        }
        let totals = top.map_or(Totals::default(), |top| Totals {
            count: top.count,
            sum: top.sum,
        });
        Ok(Layer { parts, totals })
    }
}

struct Walk<'r, 'p> {
    reader: &'r mut Reader<'p>,
    parts: Vec<Part<'p>>,
    /// The key of the last leaf.
    last: Option<&'p [u8]>,
}

impl<'p> Walk<'_, 'p> {
    fn top(&mut self) -> Result<Option<Node>, Error> {
        let token = self.reader.byte()?;
        match token {
            EMPTY => Ok(None),
            UNSEEN => self.hidden().map(Some),
            _ => self.node(token, LEVELS_MAX - 1, DEPTH_MAX).map(Some),
        }
    }

    /// The node that `token` begins, in a page of at most that level, with at most `depth` inner nodes down
    /// to a leaf.
    fn node(&mut self, token: u8, level_max: u8, depth: usize) -> Result<Node, Error> {
        let at = self.reader.at() - 1;
        let shape = token & SHAPE;
        let level = token & !SHAPE;
        let ascends = level > level_max && !left_out(Check::Level);
        if shape != 0 && (ascends || depth == 0) {
            return Err(self.reader.fault(at, Fault::Bounds).into());
        }
        let (left, right) = match shape {
            BOTH => (self.child(level, depth)?, self.child(level, depth)?),
            LEFT => (self.child(level, depth)?, self.hidden()?),
            RIGHT => (self.hidden()?, self.child(level, depth)?),
            _ => return self.leaf(token),
        };
        Node::join(level, &left, &right).ok_or(Error::Totals { at })
    }

    fn child(&mut self, level: u8, depth: usize) -> Result<Node, Error> {
        let token = self.reader.byte()?;
        self.node(token, level, depth - 1)
    }

    fn hidden(&mut self) -> Result<Node, Error> {
        let hash = Hash(self.reader.array()?);
        let at = self.reader.at();
        let node = Node {
            hash,
            count: self.reader.u64()?,
            sum: self.reader.i128()?,
        };
        if node.count == 0 && !left_out(Check::Count) {
            return Err(self.reader.fault(at, Fault::Bounds).into());
        }
        self.gap(Totals {
            count: node.count,
            sum: node.sum,
        });
        Ok(node)
    }

    /// What is left out side by side is one gap. Where that would be too much for one, there are two, for whoever judges them.
    fn gap(&mut self, totals: Totals) {
        if let Some(Part::Gap(before)) = self.parts.last_mut()
            && let Some(both) = before.add(totals)
        {
            *before = both;
        } else {
            self.parts.push(Part::Gap(totals));
        }
    }

    fn leaf(&mut self, token: u8) -> Result<Node, Error> {
        let at = self.reader.at() - 1;
        if token != KEY && token != VALUE {
            return Err(self.reader.fault(at, Fault::Unknown).into());
        }
        let key = self.reader.bytes()?;
        let before = self.last.replace(key);
        if before.is_some_and(|before| before >= key) && !left_out(Check::Order) {
            return Err(self.reader.fault(at, Fault::Order).into());
        }
        let (value, hash, sum) = if token == VALUE {
            let bytes = self.reader.bytes()?;
            let value = Value {
                bytes,
                at: self.reader.at() - bytes.len(),
            };
            let sum = Element::sum_of(bytes).map_err(|fault| value.fault(fault))?;
            (Some(value), value_hash(bytes), sum)
        } else {
            (None, Hash(self.reader.array()?), self.reader.i128()?)
        };
        self.parts.push(Part::Leaf(Leaf { key, value, sum }));
        Ok(Node::leaf(key, &hash, sum))
    }
}
