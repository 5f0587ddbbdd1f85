//! Going along a list of nodes that may be freed, and used for something else, at any time.
//!
//! A node can only be taken out of the list through the link that leads to it. Going on from a node `a`, which is in the list and alive, to the next, `b`, one reads
//! the link of `a`, then the header of `b`, and then looks whether `a` still has its header and that link: if so, `b` is in the list with that header, and all of it
//! was written. Killed nodes between them lead on, for their links don't change any more and nothing behind them can be taken out of the list before they are.
//! What was read from a node counts if its header is the same afterwards; and the step counts if, at its end, all of this is still so.

use super::header::Header;
use crate::sync::{AtomicU64, Ordering, fence};

/// In a link: the node whose link this is has been killed.
pub(crate) const MARK: u64 = 1;

/// A header as it was when its node was in the list; `None` for the head of the list, which nobody frees.
#[derive(Clone, Copy)]
pub(crate) struct Watched<'a>(pub(crate) Option<(&'a AtomicU64, Header)>);

impl Watched<'_> {
    /// Whether everything that was read from the node until now was read while it was this node.
    pub(crate) fn is_the_same(self) -> bool {
        fence(Ordering::Acquire);
        self.0.is_none_or(|(word, seen)| Header::load(word) == seen)
    }
}

/// What a step from a node leads to.
#[derive(Debug)]
pub(crate) enum Step<N> {
    To(N),
    /// To the end of the list.
    End,
    /// Something changed: the search begins anew.
    Anew,
    /// The node that the step starts from was killed, so the search, which doesn't stand on the dead, begins anew as well. Or this is nonsense, if it stays so.
    Killed(u64),
}

/// From a node over its `link` to the next that is alive. `watch` looks at the header of the node at a place, and `load` then at the rest of it: it returns the node
/// and its link.
pub(crate) fn step<'a, N, E>(
    from: Watched<'_>,
    link: &AtomicU64,
    mut watch: impl FnMut(u64) -> Result<Watched<'a>, E>,
    mut load: impl FnMut(u64, Watched<'a>) -> Result<(N, &'a AtomicU64), E>,
) -> Result<Step<N>, E> {
    let is_linked_to =
        |place| from.is_the_same() && link.load(Ordering::Acquire) == place && from.is_the_same();
    let first = link.load(Ordering::Acquire);
    if first & MARK != 0 {
        return Ok(Step::Killed(first));
    }
    let mut next = None;
    let mut place = first;
    let step = loop {
        if place == 0 {
            break Step::End;
        }
        let watched = watch(place)?;
        if next.is_none() {
            // It may be another node that is still being written, and be linked here again in a moment. One that is linked now is whole.
            if !is_linked_to(first) {
                return Ok(Step::Anew);
            }
            next = Some(watched);
        }
        let (node, behind) = load(place, watched)?;
        let behind = behind.load(Ordering::Acquire);
        if !watched.is_the_same() {
            return Ok(Step::Anew);
        }
        if behind & MARK == 0 {
            break Step::To(node);
        }
        place = behind & !MARK;
    };
    // As the next one is still what it was, it was linked all the time, and what killed ones led to was in the list.
    let is_sure = is_linked_to(first) && next.is_none_or(Watched::is_the_same);
    Ok(if is_sure { step } else { Step::Anew })
}
