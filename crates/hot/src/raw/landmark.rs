//! A word that is needed all the time and therefore looked for only once.

use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::sync::AtomicU64;

/// A word of something shared, which it keeps.
pub(crate) struct Landmark<O> {
    word: NonNull<AtomicU64>,
    _owner: Arc<O>,
}

// SAFETY: it is no more than a shared reference to a word that may be used from any thread, and a share of its owner.
unsafe impl<O: Send + Sync> Send for Landmark<O> {}

impl<O> Landmark<O> {
    /// The word that `find` finds in `owner`.
    pub(crate) fn new<E>(
        owner: &Arc<O>,
        find: impl for<'a> FnOnce(&'a O) -> Result<&'a AtomicU64, E>,
    ) -> Result<Landmark<O>, E> {
        let word = NonNull::from(find(owner)?);
        Ok(Landmark {
            word,
            _owner: Arc::clone(owner),
        })
    }

    #[inline(always)]
    pub(crate) fn word(&self) -> &AtomicU64 {
        // SAFETY: the reference was good for as long as the owner could be borrowed, for `find` knew no shorter life of it; the owner lives as long
        // as our share of it, and can't be borrowed for changes while there is one.
        unsafe { self.word.as_ref() }
    }
}

impl<O> fmt::Debug for Landmark<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Landmark").field(self.word()).finish()
    }
}
