//! Words that are needed all the time and therefore looked for only once.

use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

/// Words of something shared, which it keeps.
pub(crate) struct Landmark<O, W> {
    words: NonNull<W>,
    _owner: Arc<O>,
}

// SAFETY: it is no more than a shared reference to words that may be used from any thread, and a share of their owner.
unsafe impl<O: Send + Sync, W: Sync> Send for Landmark<O, W> {}

impl<O, W> Landmark<O, W> {
    /// The words that `find` finds in `owner`.
    pub(crate) fn new<E>(
        owner: &Arc<O>,
        find: impl for<'a> FnOnce(&'a O) -> Result<&'a W, E>,
    ) -> Result<Landmark<O, W>, E> {
        let words = NonNull::from(find(owner)?);
        Ok(Landmark {
            words,
            _owner: Arc::clone(owner),
        })
    }

    #[inline(always)]
    pub(crate) fn words(&self) -> &W {
        // SAFETY: the reference was good for as long as the owner could be borrowed, for `find` knew no shorter life of it; the owner lives as long
        // as our share of it, and can't be borrowed for changes while there is one.
        unsafe { self.words.as_ref() }
    }
}

impl<O, W> fmt::Debug for Landmark<O, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Landmark").finish_non_exhaustive()
    }
}
