//! Reading a committed state, and proving it.

use std::sync::OnceLock;

use weald_engine::{Opened, ReadTx, Readable};
use weald_proof::{Answer, Element, Hash, ProveError, Query, Trees, prove};

use super::answer::Ground;
use super::cache::PageCache;
use super::found::Found;
use super::meter::Meter;
use super::pages::{Below, TreePages};
use super::reader::Reader;
use super::record::{Located, Top};
use crate::error::{Error, Result};

/// A committed state of a store: its entries, and the root hash that belongs to them. Later commits don't change it.
pub struct TreeSnapshot<'s> {
    tx: ReadTx<'s>,
    all: OnceLock<Opened>,
    cache: &'s PageCache,
    found: &'s Found,
}

impl<'s> TreeSnapshot<'s> {
    pub(crate) fn new(tx: ReadTx<'s>, cache: &'s PageCache, found: &'s Found) -> TreeSnapshot<'s> {
        let all = found.of(&tx.root()).map_or_else(OnceLock::new, OnceLock::from);
        TreeSnapshot {
            tx,
            all,
            cache,
            found,
        }
    }

    /// The root hash over everything.
    pub fn root(&self) -> Result<Hash> {
        self.root_hash(Meter::OFF)
    }

    /// What a key of the tree at `path` holds.
    pub fn get(&self, path: &[&[u8]], key: &[u8]) -> Result<Option<Element>> {
        self.element(Meter::OFF, path, key)
    }

    /// What a key holds or, if that is a reference, what it leads to.
    pub fn follow(&self, path: &[&[u8]], key: &[u8]) -> Result<Option<Element>> {
        self.followed(Meter::OFF, path, key)
    }

    /// The answer to a query: what verifying its [proof](Self::prove) gives. It takes time in proportion to the entries that it looks
    /// at, those that are counted or left out included.
    pub fn query(&self, query: &Query) -> Result<Answer> {
        self.answer(Meter::OFF, query)
    }

    /// The proof of the answer to a query. [`weald_proof::verify`] checks it against the [root hash](Self::root), and gives the
    /// answer.
    pub fn prove(&self, query: &Query) -> Result<Vec<u8>> {
        self.proof(Meter::OFF, query)
    }

    pub(crate) fn proof(&self, meter: Meter<'_>, query: &Query) -> Result<Vec<u8>> {
        let reader = self.reader(meter)?;
        let below = Below::default();
        let proof = prove(&Proving { reader, below }, query).map_err(|error| match error {
            ProveError::Query(error) => Error::Query(error),
            ProveError::Storage(error) => error,
            ProveError::Damaged => Error::damaged("a tree lacks a page, an element or a subtree"),
        })?;
        meter.loaded(proof.len());
        Ok(proof)
    }
}

impl Ground for TreeSnapshot<'_> {
    fn reader<'a>(&'a self, meter: Meter<'a>) -> Result<Reader<'a>> {
        let is_known = self.all.get().is_some();
        let reader = Reader::new(&self.tx.root(), &self.all, self.cache, meter)?;
        if !is_known {
            self.found.note(reader.trees.opened());
        }
        Ok(reader)
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
        TreePages::find(self.reader(Meter::OFF)?, path)
    }
}

/// A snapshot that was opened for a proof, and whose pages count what is looked up.
struct Proving<'a> {
    reader: Reader<'a>,
    below: Below,
}

impl Trees for Proving<'_> {
    type Error = Error;
    type Pages<'a>
        = TreePages<'a>
    where
        Self: 'a;

    fn tree(&self, path: &[Vec<u8>]) -> Result<Option<TreePages<'_>>> {
        TreePages::find_below(self.reader, path, &self.below)
    }
}
