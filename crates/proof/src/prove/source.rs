//! What storage supplies.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::page::Page;
use crate::node::Node;

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

    /// The same page, of which the page above says that its topmost node is `node`. Storage may use that to find
    /// it sooner, or to tell that it is another.
    fn child(&self, level: u8, key: &[u8], node: &Node) -> Result<Option<Arc<Page>>, Self::Error> {
        let _ = node;
        self.page(level, key)
    }

    /// The topmost page; `None` if the tree is empty.
    fn topmost(&self) -> Result<Option<Arc<Page>>, Self::Error> {
        match self.top_level()? {
            Some(level) => self.after(level, None),
            None => Ok(None),
        }
    }

    /// The last page of that level that begins before `key`, or the last of all if `None`.
    fn before(&self, level: u8, key: Option<&[u8]>) -> Result<Option<Arc<Page>>, Self::Error>;

    /// The first page of that level that begins after `key`, or the first of all if `None`.
    fn after(&self, level: u8, key: Option<&[u8]>) -> Result<Option<Arc<Page>>, Self::Error>;

    /// The encoded element under `key`.
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Self::Error>;

    /// Shows `look` the encoded element under `key`, which storage need not copy then.
    fn look_at_value<T>(&self, key: &[u8], look: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, Self::Error> {
        Ok(self.value(key)?.map(|value| look(&value)))
    }
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

    fn child(&self, level: u8, key: &[u8], node: &Node) -> Result<Option<Arc<Page>>, P::Error> {
        P::child(self, level, key, node)
    }

    fn topmost(&self) -> Result<Option<Arc<Page>>, P::Error> {
        P::topmost(self)
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

    fn look_at_value<T>(&self, key: &[u8], look: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, P::Error> {
        P::look_at_value(self, key, look)
    }
}
