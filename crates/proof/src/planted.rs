//! Checks of the verifier by name, so that a test can leave one out and see that other tests notice.
//!
//! Outside this crate's own tests none is ever left out, and the question costs nothing.

/// A check of the verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// The first byte is the version.
    Version,
    /// Nothing follows the last layer.
    End,
    /// A layer's hash is the root that was asked for.
    Root,
    /// The element that holds a tree says its count or sum.
    Holder,
    /// Levels don't ascend on the way down.
    Level,
    /// A hidden node counts something.
    Count,
    /// Keys ascend.
    Order,
    /// A number has its shortest form.
    Number,
    /// Nothing is shown after the limit.
    Limit,
    /// A value is shown only of what is returned.
    Value,
    /// What is returned is shown with its value.
    Entry,
    /// A leaf without its value bounds something.
    Bound,
    /// Nothing that is asked for is hidden.
    Gap,
}

/// Whether a test has asked for the check to be left out.
#[cfg(not(test))]
#[inline(always)]
pub(crate) const fn left_out(_check: Check) -> bool {
    false
}

#[cfg(test)]
pub(crate) use switch::left_out;
#[cfg(all(test, feature = "prove"))]
pub(crate) use switch::without;

#[cfg(test)]
mod switch {
    use core::cell::Cell;

    use super::Check;

    std::thread_local! {
        static LEFT_OUT: Cell<Option<Check>> = const { Cell::new(None) };
    }

    pub(crate) fn left_out(check: Check) -> bool {
        LEFT_OUT.get() == Some(check)
    }

    /// Runs `body` while this thread leaves out `check`.
    #[cfg(feature = "prove")]
    pub(crate) fn without<T>(check: Check, body: impl FnOnce() -> T) -> T {
        LEFT_OUT.set(Some(check));
        let value = body();
        LEFT_OUT.set(None);
        value
    }
}
