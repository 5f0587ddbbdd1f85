//! Searching the list without being able to write to it, and so without a pin: any node may be freed, and its memory used for something else, while it
//! is looked at. How a search goes from node to node all the same, and why that is right, is told at the protocol (`protocol/watch.rs`); here it goes down the
//! levels, and begins anew wherever something has changed.

use std::cmp::Ordering as Order;

use crate::error::{Error, Result, corrupt};
use crate::heap::{TAG_NODE, tag_of};
use crate::layout::at;
use crate::order::index::Until;
use crate::order::node::{LEVELS, Node};
use crate::protocol::RETRIES;
use crate::protocol::header::{Header, State};
use crate::protocol::watch::{self, Step, Watched};
use crate::region::Shared;
use crate::sync::{AtomicU64, Ordering};

/// How often something that looks damaged, or is just being changed, is looked at again before it is called damaged.
const DOUBTS: u32 = 1000;

/// The keys between which a search ended.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    pub(crate) before: Option<Vec<u8>>,
    pub(crate) after: Option<Vec<u8>>,
}

/// A node, as it was when it was in the list; `None` for the head of the list.
struct Place<'a>(Option<Node<'a>>, Watched<'a>);

impl<'a> Place<'a> {
    const HEAD: Place<'static> = Place(None, Watched(None));

    fn link(&self, shared: &'a Shared, level: usize) -> Result<&'a AtomicU64> {
        match &self.0 {
            Some(node) => node.link(level),
            None => Ok(shared.fixed(at::INDEX_HEAD + level as u64 * 8)),
        }
    }

    /// Its key; `None` if it is the head, and `Err(())` if it isn't this node any more.
    fn key(&self) -> std::result::Result<Option<Vec<u8>>, ()> {
        let key = self.0.as_ref().map(Node::key);
        if self.1.is_the_same() { Ok(key) } else { Err(()) }
    }
}

impl Shared {
    /// The keys before and after a bound, both the nearest that have a node; for no bound the last key of all.
    pub(crate) fn watch(&self, bound: Option<(&[u8], Until)>) -> Result<Neighbours> {
        let mut doubts = 0;
        for _ in 0..RETRIES {
            match self.try_watch(bound) {
                Ok(Some(neighbours)) => return Ok(neighbours),
                Ok(None) => {}
                Err(Error::Corrupt(_)) if doubts < DOUBTS => doubts += 1,
                Err(error) => return Err(error),
            }
        }
        Err(Error::Again("a list that others keep changing"))
    }

    fn try_watch(&self, bound: Option<(&[u8], Until)>) -> Result<Option<Neighbours>> {
        let mut last = Place::HEAD;
        let mut steps = self.layout.len / 64;
        let mut after = Place::HEAD;
        for level in (0..LEVELS).rev() {
            loop {
                let link = last.link(self, level)?;
                let load = |place, watched| self.load_watched(place, watched, level);
                let next = match watch::step(last.1, link, |place| self.watch_node(place, &mut steps), load)?
                {
                    Step::To(next) => next,
                    Step::End => break,
                    Step::Anew => return Ok(None),
                    Step::Killed(link) => return corrupt("a link of a node that lives", link),
                };
                let order = match (&next.0, bound) {
                    (Some(node), Some((key, until))) => match (node.compare(key), until) {
                        (Order::Equal, Until::Beyond) => Order::Less,
                        (order, _) => order,
                    },
                    _ => Order::Less,
                };
                if !next.1.is_the_same() {
                    return Ok(None);
                }
                if order != Order::Less {
                    if level == 0 {
                        after = next;
                    }
                    break;
                }
                last = next;
            }
        }
        Ok(match (last.key(), after.key()) {
            (Ok(before), Ok(after)) => Some(Neighbours { before, after }),
            _ => None,
        })
    }

    /// The header of the node at a place, if there is one in use.
    fn watch_node(&self, place: u64, steps: &mut u64) -> Result<Watched<'_>> {
        *steps = match steps.checked_sub(1) {
            Some(steps) => steps,
            None => return corrupt("a list that ends", place),
        };
        let word = self.map.word(place)?;
        let header = Header::load(word);
        if !matches!(header.state(), State::Live | State::Owned) {
            return corrupt("a node that is in use", place);
        }
        Ok(Watched(Some((word, header))))
    }

    fn load_watched<'a>(
        &'a self,
        place: u64,
        watched: Watched<'a>,
        level: usize,
    ) -> Result<(Place<'a>, &'a AtomicU64)> {
        let tag = tag_of(self.map.word(place + 8)?.load(Ordering::Acquire));
        if tag != TAG_NODE {
            return corrupt("a node", place);
        }
        let node = Node::load(self, place)?;
        Ok((Place(Some(node), watched), node.link(level)?))
    }
}
