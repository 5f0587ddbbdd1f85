//! Reading a committed state, and proving it.

use weald_engine::{ReadTx, Readable};
use weald_proof::{Answer, Element, Hash, Node, ProveError, Query, Trees, prove};

use super::answer::Ground;
use super::pages::TreePages;
use super::reader::Reader;
use super::record::{Located, Top};
use crate::error::{Error, Result};

/// A committed state of a store: its entries, and the root hash that belongs to them. Later commits don't change it.
pub struct TreeSnapshot<'s> {
    tx: ReadTx<'s>,
}

impl<'s> TreeSnapshot<'s> {
    pub(crate) fn new(tx: ReadTx<'s>) -> TreeSnapshot<'s> {
        TreeSnapshot { tx }
    }

    /// The root hash over everything.
    pub fn root(&self) -> Result<Hash> {
        let top = self.reader()?.top(&Located::new(Vec::new()))?;
        Ok(Node::root(top.map(|top| top.node).as_ref()))
    }

    /// What a key of the tree at `path` holds.
    pub fn get(&self, path: &[&[u8]], key: &[u8]) -> Result<Option<Element>> {
        self.element(path, key)
    }

    /// What a key holds or, if that is a reference, what it leads to.
    pub fn follow(&self, path: &[&[u8]], key: &[u8]) -> Result<Option<Element>> {
        self.followed(path, key)
    }

    /// The answer to a query: what verifying its [proof](Self::prove) gives. It takes time in proportion to the entries that it looks
    /// at, those that are counted or left out included.
    pub fn query(&self, query: &Query) -> Result<Answer> {
        self.answer(query)
    }

    /// The proof of the answer to a query. [`weald_proof::verify`] checks it against the [root hash](Self::root), and gives the
    /// answer.
    pub fn prove(&self, query: &Query) -> Result<Vec<u8>> {
        prove(self, query).map_err(|error| match error {
            ProveError::Query(error) => Error::Query(error),
            ProveError::Storage(error) => error,
            ProveError::Damaged => Error::damaged("a tree lacks a page, an element or a subtree"),
        })
    }
}

impl Ground for TreeSnapshot<'_> {
    fn reader(&self) -> Result<Reader<'_>> {
        Reader::new(&self.tx.root())
    }

    fn top(&self, reader: &Reader<'_>, tree: &Located) -> Result<Option<Top>> {
        reader.top(tree)
    }
}

impl Trees for TreeSnapshot<'_> {
    type Error = Error;
    type Pages<'a>
        = TreePages<'a>
    where
        Self: 'a;

    fn tree(&self, path: &[Vec<u8>]) -> Result<Option<TreePages<'_>>> {
        let reader = self.reader()?;
        match reader.locate(path) {
            Ok(tree) => Ok(Some(TreePages { reader, tree })),
            Err(Error::NoSubtree { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
