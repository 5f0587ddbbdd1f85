//! Merkle pages in the engine, as updates and proofs read them.

use std::ops::Bound;
use std::sync::Arc;

use weald_proof::{Page, Pages};

use super::reader::Reader;
use super::record::Located;
use crate::error::{Error, Result};

/// The pages of one tree in one state of the store.
pub struct TreePages<'t> {
    pub(crate) reader: Reader<'t>,
    pub(crate) tree: Located,
}

impl TreePages<'_> {
    fn nearest(&self, start: Bound<Vec<u8>>, end: Bound<Vec<u8>>, last: bool) -> Result<Option<Arc<Page>>> {
        let mut pages = self.reader.pages.range((start, end));
        let page = if last { pages.next_back() } else { pages.next() };
        page.transpose()?.map(|(_, page)| decode(page)).transpose()
    }
}

fn decode(bytes: &[u8]) -> Result<Arc<Page>> {
    let page = Page::decode(bytes).map_err(|_| Error::damaged("a Merkle page can't be read"))?;
    Ok(Arc::new(page))
}

impl Pages for TreePages<'_> {
    type Error = Error;

    fn top_level(&self) -> Result<Option<u8>> {
        Ok(self.reader.top(&self.tree)?.map(|top| top.level))
    }

    fn page(&self, level: u8, key: &[u8]) -> Result<Option<Arc<Page>>> {
        let page = self.reader.pages.get_ref(&self.tree.page_key(level, key))?;
        page.map(decode).transpose()
    }

    fn before(&self, level: u8, key: Option<&[u8]>) -> Result<Option<Arc<Page>>> {
        let end = key.map_or_else(
            || self.tree.page_key(level + 1, b""),
            |key| self.tree.page_key(level, key),
        );
        let start = self.tree.page_key(level, b"");
        self.nearest(Bound::Included(start), Bound::Excluded(end), true)
    }

    fn after(&self, level: u8, key: Option<&[u8]>) -> Result<Option<Arc<Page>>> {
        let start = key.map_or_else(
            || Bound::Included(self.tree.page_key(level, b"")),
            |key| Bound::Excluded(self.tree.page_key(level, key)),
        );
        let end = self.tree.page_key(level + 1, b"");
        self.nearest(start, Bound::Excluded(end), false)
    }

    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let element = self
            .reader
            .element(&self.tree, key, |subtree| self.reader.top(subtree))?;
        Ok(element.map(|element| element.encode()))
    }
}
