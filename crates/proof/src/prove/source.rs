//! What storage supplies.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::page::Page;

/// The pages of one tree, by level and first key.
///
/// They are ordered as their first keys are. All calls during one update or proof must see the same state.
pub trait Pages {
    /// What can fail.
    type Error;

    /// The level of the topmost page; `None` if the tree is empty.
    fn top_level(&self) -> Result<Option<u8>, Self::Error>;

    /// The page of that level that begins with `key`.
    fn page(&self, level: u8, key: &[u8]) -> Result<Option<Arc<Page>>, Self::Error>;

    /// The last page of that level that begins before `key`, or the last of all if `None`.
    fn before(&self, level: u8, key: Option<&[u8]>) -> Result<Option<Arc<Page>>, Self::Error>;

    /// The first page of that level that begins after `key`, or the first of all if `None`.
    fn after(&self, level: u8, key: Option<&[u8]>) -> Result<Option<Arc<Page>>, Self::Error>;

    /// The encoded element under `key`.
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// Trees within trees, by path.
pub trait Trees {
    /// What can fail.
    type Error;

    /// One of them.
    type Pages<'a>: Pages<Error = Self::Error>
    where
        Self: 'a;

    /// The tree at `path`; `None` if there is none. The outermost, at the empty path, always is.
    fn tree(&self, path: &[Vec<u8>]) -> Result<Option<Self::Pages<'_>>, Self::Error>;
}

impl<P: Pages> Pages for &P {
    type Error = P::Error;

    fn top_level(&self) -> Result<Option<u8>, P::Error> {
        P::top_level(self)
    }

    fn page(&self, level: u8, key: &[u8]) -> Result<Option<Arc<Page>>, P::Error> {
        P::page(self, level, key)
    }

    fn before(&self, level: u8, key: Option<&[u8]>) -> Result<Option<Arc<Page>>, P::Error> {
        P::before(self, level, key)
    }

    fn after(&self, level: u8, key: Option<&[u8]>) -> Result<Option<Arc<Page>>, P::Error> {
        P::after(self, level, key)
    }

    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, P::Error> {
        P::value(self, key)
    }
}
