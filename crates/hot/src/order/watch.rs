//! Searching the list without being able to write to it, and so without a pin: any node may be freed, and its memory used for something else, while it
//! is looked at.
//!
//! What saves the search is that a node can only be taken out of the list through the link that leads to it. Going on from a node `a`, which is in the
//! list and alive, to the next, `b`, the search reads the link of `a`, then the header of `b`, and then looks whether `a` still has its header and that
//! link: if so, `b` was in the list with that header. Killed nodes between them lead on, for their links don't change any more and nothing behind them
//! can be taken out of the list before they are. What was read from a node counts if its header is the same afterwards. Wherever something
//! differs the search begins anew.

use std::cmp::Ordering as Order;

use crate::error::{Error, Result, corrupt};
use crate::heap::{TAG_NODE, tag_of};
use crate::layout::at;
use crate::order::index::Until;
use crate::order::node::{LEVELS, MARK, Node};
use crate::protocol::RETRIES;
use crate::protocol::header::{Header, State};
use crate::region::Shared;
use crate::sync::{AtomicU64, Ordering, fence};

/// How often something that looks damaged, or is just being changed, is looked at again before it is called damaged.
const DOUBTS: u32 = 1000;

/// The keys between which a search ended.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    pub(crate) before: Option<Vec<u8>>,
    pub(crate) after: Option<Vec<u8>>,
}

/// A node, and the header that it had when it was in the list; `None` for the head of the list.
struct Watched<'a>(Option<(Node<'a>, Header)>);

impl<'a> Watched<'a> {
    fn link(&self, shared: &'a Shared, level: usize) -> Result<&'a AtomicU64> {
        match &self.0 {
            Some((node, _)) => node.link(level),
            None => Ok(shared.fixed(at::INDEX_HEAD + level as u64 * 8)),
        }
    }

    /// Whether everything that was read from it until now was read while it was this node.
    fn is_the_same(&self) -> bool {
        fence(Ordering::Acquire);
        self.0
            .as_ref()
            .is_none_or(|(node, header)| node.header() == *header)
    }

    /// Its key; `None` if it is the head, and `Err(())` if it isn't this node any more.
    fn key(&self) -> std::result::Result<Option<Vec<u8>>, ()> {
        let key = self.0.as_ref().map(|(node, _)| node.key());
        if self.is_the_same() { Ok(key) } else { Err(()) }
    }
}

/// What a step from a node leads to.
enum Step<'a> {
    To(Watched<'a>),
    /// To the end of the level.
    End,
    /// Something changed.
    Anew,
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
        let mut last = Watched(None);
        let mut steps = self.layout.len / 64;
        let mut after = Watched(None);
        for level in (0..LEVELS).rev() {
            loop {
                let next = match self.step(&last, level, &mut steps)? {
                    Step::To(next) => next,
                    Step::End => break,
                    Step::Anew => return Ok(None),
                };
                let order = match (&next.0, bound) {
                    (Some((node, _)), Some((key, until))) => match (node.compare(key), until) {
                        (Order::Equal, Until::Beyond) => Order::Less,
                        (order, _) => order,
                    },
                    _ => Order::Less,
                };
                if !next.is_the_same() {
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

    /// From a node to the next on its level that is alive.
    fn step<'a>(&'a self, from: &Watched<'a>, level: usize, steps: &mut u64) -> Result<Step<'a>> {
        let link = from.link(self, level)?;
        let first = link.load(Ordering::Acquire);
        if first & MARK != 0 {
            // Killed since, or else nonsense: the search doesn't stand on the dead.
            return corrupt("a link of a node that lives", first);
        }
        let mut place = first;
        let step = loop {
            if place == 0 {
                break Step::End;
            }
            *steps = match steps.checked_sub(1) {
                Some(steps) => steps,
                None => return corrupt("a list that ends", place),
            };
            let header = Header::load(self.map.word(place)?);
            let tag = tag_of(self.map.word(place + 8)?.load(Ordering::Acquire));
            if !matches!(header.state(), State::Live | State::Owned) || tag != TAG_NODE {
                return corrupt("a node that is in use", place);
            }
            let node = Node::load(self, place)?;
            let behind = node.link(level)?.load(Ordering::Acquire);
            let watched = Watched(Some((node, header)));
            if !watched.is_the_same() {
                return Ok(Step::Anew);
            }
            if behind & MARK == 0 {
                break Step::To(watched);
            }
            place = behind & !MARK;
        };
        let is_linked = from.is_the_same() && link.load(Ordering::Acquire) == first && from.is_the_same();
        Ok(if is_linked { step } else { Step::Anew })
    }
}
