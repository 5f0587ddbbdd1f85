//! Trees in memory.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;
use core::ops::Bound;

use super::page::Page;
use super::source::{Pages, Trees};
use super::update::{Changes, UpdateError, update};
use crate::element::Element;
use crate::hash::Hash;
use crate::node::Node;

/// Trees within trees, in memory: the model that storage is compared with, and enough for small data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forest {
    trees: BTreeMap<Vec<Vec<u8>>, MemoryPages>,
}

/// One tree of a [`Forest`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryPages {
    top_level: Option<u8>,
    top: Option<Node>,
    pages: BTreeMap<(u8, Vec<u8>), Arc<Page>>,
    elements: BTreeMap<Vec<u8>, Element>,
}

/// Why a forest stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForestError {
    /// There is no tree at the path.
    NoTree,
    /// A count or a sum would be too large.
    Overflow,
}

impl fmt::Display for ForestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ForestError::NoTree => "there is no tree at this path",
            ForestError::Overflow => "a count or a sum would be too large",
        })
    }
}

impl core::error::Error for ForestError {}

impl Default for Forest {
    fn default() -> Forest {
        Forest::new()
    }
}

impl Forest {
    /// The empty outermost tree.
    #[must_use]
    pub fn new() -> Forest {
        Forest {
            trees: BTreeMap::from([(Vec::new(), MemoryPages::default())]),
        }
    }

    /// The root hash over everything.
    #[must_use]
    pub fn root(&self) -> Hash {
        Node::root(self.trees.get(&Vec::new()).and_then(|tree| tree.top.as_ref()))
    }

    /// Puts one element into the tree at `path`.
    pub fn put(&mut self, path: &[&[u8]], key: &[u8], element: Element) -> Result<(), ForestError> {
        self.apply(path, BTreeMap::from([(key.to_vec(), Some(element))]))
    }

    /// Sets or removes (where there is `None`) elements of the tree at `path`, and brings the hashes up to
    /// date. Subtrees whose elements go, go too; an element that is a subtree begins empty, whatever root it
    /// says.
    pub fn apply(
        &mut self,
        path: &[&[u8]],
        edits: BTreeMap<Vec<u8>, Option<Element>>,
    ) -> Result<(), ForestError> {
        let mut path: Vec<Vec<u8>> = path.iter().map(|segment| segment.to_vec()).collect();
        let mut edits: BTreeMap<_, _> = edits
            .into_iter()
            .map(|(key, element)| {
                (
                    key,
                    element.map(|element| rooted(&element, Node::root(None), None)),
                )
            })
            .collect();
        let mut steps = Vec::new();
        loop {
            let tree = self.trees.get(&path).ok_or(ForestError::NoTree)?;
            let changes = update(tree, &edits).map_err(|error| match error {
                UpdateError::Overflow => ForestError::Overflow,
                UpdateError::Damaged => unreachable!("an update finds the pages that earlier ones made"),
                UpdateError::Storage(never) => match never {},
            })?;
            let (root, top) = (changes.root(), changes.top);
            steps.push((path.clone(), edits, changes));
            let Some(key) = path.pop() else {
                break;
            };
            let holder = self
                .trees
                .get(&path)
                .and_then(|tree| tree.elements.get(&key))
                .ok_or(ForestError::NoTree)?;
            edits = BTreeMap::from([(key, Some(rooted(holder, root, top)))]);
        }
        self.transplant(&steps[0].0, &steps[0].1);
        for (path, edits, changes) in steps {
            self.trees.entry(path).or_default().apply(edits, changes);
        }
        Ok(())
    }

    /// Drops the subtrees under changed keys of the tree at `path`, and begins those that come.
    fn transplant(&mut self, path: &[Vec<u8>], edits: &BTreeMap<Vec<u8>, Option<Element>>) {
        for (key, element) in edits {
            let below: Vec<Vec<u8>> = path.iter().chain([key]).cloned().collect();
            while let Some((gone, _)) = self.trees.range(below.clone()..).next()
                && gone.starts_with(&below)
            {
                let gone = gone.clone();
                self.trees.remove(&gone);
            }
            if element
                .as_ref()
                .is_some_and(|element| element.subtree().is_some())
            {
                self.trees.insert(below, MemoryPages::default());
            }
        }
    }

    /// The elements of the tree at `path`.
    #[must_use]
    pub fn elements(&self, path: &[&[u8]]) -> Option<&BTreeMap<Vec<u8>, Element>> {
        let path: Vec<Vec<u8>> = path.iter().map(|segment| segment.to_vec()).collect();
        self.trees.get(&path).map(|tree| &tree.elements)
    }
}

impl MemoryPages {
    fn apply(&mut self, edits: BTreeMap<Vec<u8>, Option<Element>>, changes: Changes) {
        for page in changes.pages {
            let (level, key) = page.place();
            let at = (level, key.to_vec());
            match page.after() {
                Some(page) => drop(self.pages.insert(at, page.clone())),
                None => drop(self.pages.remove(&at)),
            }
        }
        for (key, element) in edits {
            match element {
                Some(element) => drop(self.elements.insert(key, element)),
                None => drop(self.elements.remove(&key)),
            }
        }
        self.top_level = changes.top_level;
        self.top = changes.top;
    }
}

/// The element that holds a subtree whose topmost node is `top`.
fn rooted(holder: &Element, root: Hash, top: Option<Node>) -> Element {
    match holder {
        Element::Tree(_) => Element::Tree(root),
        Element::SumTree { .. } => Element::SumTree {
            root,
            sum: top.map_or(0, |top| top.sum),
        },
        Element::CountTree { .. } => Element::CountTree {
            root,
            count: top.map_or(0, |top| top.count),
        },
        other => other.clone(),
    }
}

impl Pages for MemoryPages {
    type Error = Infallible;

    fn top_level(&self) -> Result<Option<u8>, Infallible> {
        Ok(self.top_level)
    }

    fn page(&self, level: u8, key: &[u8]) -> Result<Option<Arc<Page>>, Infallible> {
        Ok(self.pages.get(&(level, key.to_vec())).cloned())
    }

    fn before(&self, level: u8, key: Option<&[u8]>) -> Result<Option<Arc<Page>>, Infallible> {
        let end = key.map_or((level + 1, Vec::new()), |key| (level, key.to_vec()));
        Ok(self
            .pages
            .range((level, Vec::new())..end)
            .next_back()
            .map(|(_, page)| page.clone()))
    }

    fn after(&self, level: u8, key: Option<&[u8]>) -> Result<Option<Arc<Page>>, Infallible> {
        let start = key.map_or(Bound::Included((level, Vec::new())), |key| {
            Bound::Excluded((level, key.to_vec()))
        });
        let end = Bound::Excluded((level + 1, Vec::new()));
        Ok(self
            .pages
            .range((start, end))
            .next()
            .map(|(_, page)| page.clone()))
    }

    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.elements.get(key).map(Element::encode))
    }
}

impl Trees for Forest {
    type Error = Infallible;
    type Pages<'a> = &'a MemoryPages;

    fn tree(&self, path: &[Vec<u8>]) -> Result<Option<&MemoryPages>, Infallible> {
        Ok(self.trees.get(path))
    }
}
