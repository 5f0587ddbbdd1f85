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
        page.transpose()?
            .map(|(key, page)| self.reader.whole_page(key, page))
            .transpose()
    }
}

/// A page's bytes as they are stored: in pieces so short that each lies beside its key, since a value that does not costs a flush of
/// its own. The first begins with the number of the others.
pub(crate) fn pieces(key: &[u8], page: &[u8]) -> Vec<Vec<u8>> {
    let len = 880usize.saturating_sub(key.len()).max(256);
    let mut pieces: Vec<Vec<u8>> = page.chunks(len).map(<[u8]>::to_vec).collect();
    let tails =
        u16::try_from(pieces.len() - 1).expect("a page has 64 entries with keys of some pages at most");
    pieces[0].splice(..0, tails.to_le_bytes());
    pieces
}

/// The key of the piece with that number, from 1.
pub(crate) fn tail_key(key: &[u8], number: u16) -> Vec<u8> {
    [key, &number.to_be_bytes()].concat()
}

/// How many further pieces there are, and the bytes of the first.
fn split(first: &[u8]) -> Result<(u16, &[u8])> {
    let (tails, bytes) = first
        .split_first_chunk()
        .ok_or(Error::damaged("a Merkle page can't be read"))?;
    Ok((u16::from_le_bytes(*tails), bytes))
}

impl Reader<'_> {
    /// How many further pieces are stored of the page under `key`, if there is one.
    pub(crate) fn tails_of(&self, key: &[u8]) -> Result<u16> {
        let first = self.pages.get_ref(key)?;
        Ok(first.map(split).transpose()?.map_or(0, |(tails, _)| tails))
    }

    fn whole_page(&self, key: &[u8], first: &[u8]) -> Result<Arc<Page>> {
        let (tails, bytes) = split(first)?;
        let page = if tails == 0 {
            Page::decode(bytes)
        } else {
            let mut whole = bytes.to_vec();
            for number in 1..=tails {
                let tail = self.tails.get_ref(&tail_key(key, number))?;
                whole.extend_from_slice(tail.ok_or(Error::damaged("a Merkle page lacks a piece"))?);
            }
            Page::decode(&whole)
        };
        let page = page.map_err(|_| Error::damaged("a Merkle page can't be read"))?;
        Ok(Arc::new(page))
    }
}

impl Pages for TreePages<'_> {
    type Error = Error;

    fn top_level(&self) -> Result<Option<u8>> {
        Ok(self.reader.top(&self.tree)?.map(|top| top.level))
    }

    fn page(&self, level: u8, key: &[u8]) -> Result<Option<Arc<Page>>> {
        let key = self.tree.page_key(level, key);
        let first = self.reader.pages.get_ref(&key)?;
        first.map(|first| self.reader.whole_page(&key, first)).transpose()
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
