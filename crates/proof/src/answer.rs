//! What was asked and is proven.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::element::Element;
pub use crate::layer::Totals;

/// The proven answer to a [`Query`](crate::Query).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// There is no subtree at the path: its first `depth` segments lead to one, in which the next is absent
    /// or no subtree.
    NoSubtree {
        /// How many segments lead to a subtree.
        depth: usize,
    },
    /// To [`Ask::Entries`](crate::Ask::Entries): these and no others, in the order asked for.
    Entries(Vec<Entry>),
    /// To [`Ask::Totals`](crate::Ask::Totals).
    Totals(Totals),
}

/// An entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: Vec<u8>,
    /// What the key holds.
    pub element: Element,
    /// The answer to the query below, if there was one and the element is a subtree.
    pub below: Option<Box<Answer>>,
}

impl Answer {
    /// The entries; none if the answer is another one.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        match self {
            Answer::Entries(entries) => entries,
            _ => &[],
        }
    }
}
