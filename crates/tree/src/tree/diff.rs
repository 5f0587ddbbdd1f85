//! What differs between two states, in time proportional to that.
//!
//! Both trees are walked side by side in the order of keys. A node that is the same on both sides, by level, first key and
//! hash, is passed over; others are opened until entries are met. Pages are cut by the contents alone, so where the contents agree the nodes do.

use weald_proof::{Element, Node, Pages};

use super::Path;
use super::answer::Ground;
use super::meter::Meter;
use super::pages::TreePages;
use super::snapshot::TreeSnapshot;
use crate::error::{Error, Result};

/// A key that holds something else, or holds something on one side only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The path of its tree.
    pub path: Vec<Vec<u8>>,
    /// The key.
    pub key: Vec<u8>,
    /// What it holds in the earlier state.
    pub before: Option<Element>,
    /// What it holds in the later state.
    pub after: Option<Element>,
}

impl TreeSnapshot<'_> {
    /// What has changed from this state to `later`, in the order of paths and keys: it takes time in proportion to that, not to
    /// the size of the trees.
    ///
    /// Of a subtree that both have, what differs within is told; one that only one has, or that has become one of another kind, is told as a whole.
    pub fn diff(&self, later: &TreeSnapshot<'_>) -> Result<Vec<Difference>> {
        self.diff_as(Meter::OFF, later)
    }

    pub(crate) fn diff_as(&self, meter: Meter<'_>, later: &TreeSnapshot<'_>) -> Result<Vec<Difference>> {
        let mut differences = Vec::new();
        let mut paths = vec![Path::new()];
        while let Some(path) = paths.pop() {
            let mut below = Vec::new();
            for (key, before, after) in differing(&self.walk(meter, &path)?, &later.walk(meter, &path)?)? {
                if same_kind_of_tree(before.as_ref(), after.as_ref()) {
                    below.push(path.iter().cloned().chain([key]).collect());
                } else {
                    differences.push(Difference {
                        path: path.clone(),
                        key,
                        before,
                        after,
                    });
                }
            }
            paths.extend(below.into_iter().rev());
        }
        Ok(differences)
    }

    fn walk<'a>(&'a self, meter: Meter<'a>, path: &Path) -> Result<TreePages<'a>> {
        TreePages::find(self.reader(meter)?, path)?.ok_or(Error::damaged("a tree lacks a subtree"))
    }
}

fn same_kind_of_tree(before: Option<&Element>, after: Option<&Element>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => {
            before.subtree().is_some() && std::mem::discriminant(before) == std::mem::discriminant(after)
        }
        _ => false,
    }
}

type Change = (Vec<u8>, Option<Element>, Option<Element>);

/// The keys of two trees that hold different elements.
fn differing(before: &TreePages<'_>, after: &TreePages<'_>) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let (mut left, mut right) = (Walk::new(before)?, Walk::new(after)?);
    loop {
        let order = match (left.head(), right.head()) {
            (None, None) => return Ok(changes),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(l), Some(r)) if l == r => {
                left.stack.pop();
                right.stack.pop();
                continue;
            }
            // Of the same key the higher one is opened, and leaves come in pairs.
            (Some(l), Some(r)) if l.key == r.key && l.height != r.height => r.height.cmp(&l.height),
            (Some(l), Some(r)) => l.key.cmp(&r.key),
        };
        let key = match order {
            std::cmp::Ordering::Less => left.take()?,
            std::cmp::Ordering::Greater => right.take()?,
            std::cmp::Ordering::Equal => {
                let key = left.take()?;
                right.take()?;
                key
            }
        };
        if let Some(key) = key {
            let (was, is) = (element(before, &key)?, element(after, &key)?);
            changes.push((key, was, is));
        }
    }
}

fn element(pages: &TreePages<'_>, key: &[u8]) -> Result<Option<Element>> {
    let element = pages
        .reader
        .element(&pages.tree, key, |subtree| pages.reader.top(&subtree))?;
    if pages.reader.meter.is_on()
        && let Some(element) = &element
    {
        pages.reader.meter.loaded(key.len() + element.encode().len());
    }
    Ok(element)
}

/// A leaf, at height 0, or a page of the level below its height.
#[derive(PartialEq, Eq)]
struct Step {
    height: u8,
    key: Vec<u8>,
    node: Node,
}

/// The rest of a tree, the next node last.
struct Walk<'a, 't> {
    pages: &'a TreePages<'t>,
    stack: Vec<Step>,
}

impl<'a, 't> Walk<'a, 't> {
    fn new(pages: &'a TreePages<'t>) -> Result<Walk<'a, 't>> {
        let mut stack = Vec::new();
        if let Some(top) = pages.topmost()? {
            stack.push(Step {
                height: top.level() + 1,
                key: top.first_key().to_vec(),
                node: top.top(),
            });
        }
        Ok(Walk { pages, stack })
    }

    fn head(&self) -> Option<&Step> {
        self.stack.last()
    }

    /// The key of the next leaf, which is passed; or nothing, if it was a page, which is opened.
    fn take(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(Step { height, key, node }) = self.stack.pop() else {
            return Ok(None);
        };
        let Some(level) = height.checked_sub(1) else {
            return Ok(Some(key));
        };
        let page = self.pages.child(level, &key, &node)?;
        let page = page.ok_or(Error::damaged("a tree lacks a page"))?;
        let entries: Vec<Step> = page
            .entries()
            .map(|entry| Step {
                height: level,
                key: entry.key.to_vec(),
                node: entry.node,
            })
            .collect();
        self.stack.extend(entries.into_iter().rev());
        Ok(None)
    }
}
