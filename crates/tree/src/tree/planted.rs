//! What a test can ask for, to see that others notice, or to have something to compare with. Outside this crate's own tests it never happens.

/// What is done otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// A mistake: trees are taken over that have changed since they were settled.
    TakesOverChanged,
    /// All trees are settled when it is their transaction's turn.
    NothingAhead,
    /// A mistake: the next entry is taken for the value that is asked for, whatever its key.
    TakesNextValue,
    /// A mistake: the subtree that was looked at last is taken for the one that is asked for.
    TakesLastSubtree,
}

#[cfg(not(test))]
#[inline(always)]
pub(crate) const fn is_planted(_what: Planted) -> bool {
    false
}

#[cfg(test)]
pub(crate) use switch::{is_planted, with};

#[cfg(test)]
mod switch {
    use std::cell::Cell;

    use super::Planted;

    thread_local! {
        static PLANTED: Cell<Option<Planted>> = const { Cell::new(None) };
    }

    pub(crate) fn is_planted(what: Planted) -> bool {
        PLANTED.get() == Some(what)
    }

    /// Runs `body` while this thread does it otherwise.
    pub(crate) fn with<T>(what: Planted, body: impl FnOnce() -> T) -> T {
        PLANTED.set(Some(what));
        let value = body();
        PLANTED.set(None);
        value
    }
}
