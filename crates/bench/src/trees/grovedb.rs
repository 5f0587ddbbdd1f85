//! GroveDB on its RocksDB, which is as it configures it: nothing is flushed.

use std::cell::OnceCell;
use std::ops::Range;
use std::path::Path;

use grovedb::batch::QualifiedGroveDbOp;
use grovedb::{Element, GroveDb, PathQuery, Query, QueryItem, SizedQuery};
use grovedb_version::version::GroveVersion;

use super::grove::{Grove, Measure, key, value};
use super::nested::{self, Nested};
use super::rows::DEPTHS;
use super::{Asked, Bench};
use crate::engine::{Error, Result};
use crate::workload;

/// All items in one subtree.
pub(crate) struct Groves {
    db: GroveDb,
    /// How many there are.
    items: u64,
    /// The newest root hash, once it was asked for.
    root: OnceCell<[u8; 32]>,
}

const TREE: &[u8] = b"items";

fn version() -> &'static GroveVersion {
    GroveVersion::latest()
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::from(format!("grovedb: {error}"))
}

/// A commit: of its own for a single item, a batch for many.
fn put(db: &GroveDb, path: &[Vec<u8>], items: Range<u64>) -> Result<()> {
    if items.end - items.start == 1 {
        let n = items.start;
        return insert(db, path, &key(n), Element::new_item(value(n)));
    }
    let operations = items
        .map(|n| {
            QualifiedGroveDbOp::insert_or_replace_op(
                path.to_vec(),
                key(n).to_vec(),
                Element::new_item(value(n)),
            )
        })
        .collect();
    db.apply_batch(operations, None, None, version())
        .value
        .map_err(failed)
}

fn insert(db: &GroveDb, path: &[Vec<u8>], key: &[u8], element: Element) -> Result<()> {
    db.insert(path, key, element, None, None, version())
        .value
        .map_err(failed)
}

fn query(n: u64) -> PathQuery {
    PathQuery::new_single_key(vec![TREE.to_vec()], key(n).to_vec())
}

/// A hundred items from the n-th key on.
fn range(n: u64) -> PathQuery {
    let items = QueryItem::RangeFrom(key(n).to_vec()..);
    let query = SizedQuery::new(Query::new_single_query_item(items), Some(100), None);
    PathQuery::new(vec![TREE.to_vec()], query)
}

impl Groves {
    fn prove(&self, query: &PathQuery) -> Result<Vec<u8>> {
        self.db.prove_query(query, None, version()).value.map_err(failed)
    }

    fn root(&self) -> Result<&[u8; 32]> {
        match self.root.get() {
            Some(root) => Ok(root),
            None => {
                let root = self.db.root_hash(None, version()).value.map_err(failed)?;
                Ok(self.root.get_or_init(|| root))
            }
        }
    }

    /// The elements shown, once the proof is known to be of the newest root.
    fn shown(&self, proof: &[u8], query: &PathQuery) -> Result<Vec<Element>> {
        let (root, shown) = GroveDb::verify_query(proof, query, version()).map_err(failed)?;
        if root != *self.root()? {
            return Err("a proof of another root".into());
        }
        Ok(shown.into_iter().filter_map(|(_, _, element)| element).collect())
    }

    fn ranges(&self, bench: &mut Bench<'_>) -> Result<()> {
        let some = |i: u64| range(workload::mix(i) % self.items);
        let mut proofs = Vec::new();
        bench.cpu("range-prove", 500, &mut |i| {
            proofs.push(self.prove(&some(i))?);
            Ok(())
        })?;
        bench.cpu("range-verify", 500, &mut |i| {
            self.shown(&proofs[i as usize], &some(i)).map(drop)
        })?;
        let bytes: usize = proofs.iter().map(Vec::len).sum();
        bench.add("range-proof", bytes as f64 / proofs.len() as f64);
        Ok(())
    }
}

impl Grove for Groves {
    type Proof = Vec<u8>;

    fn open(dir: &Path, _asked: &Asked) -> Result<Groves> {
        let db = GroveDb::open(dir.join("grove")).map_err(failed)?;
        insert(&db, &[], TREE, Element::empty_tree())?;
        Ok(Groves {
            db,
            items: 0,
            root: OnceCell::new(),
        })
    }

    fn insert(&mut self, from: u64, to: u64) -> Result<()> {
        self.items = to;
        self.root.take();
        put(&self.db, &[TREE.to_vec()], from..to)
    }

    fn get_all(&self, times: u64, n: &dyn Fn(u64) -> u64, measure: &mut Measure<'_>) -> Result<()> {
        let path = [TREE];
        measure(times, &mut |i| {
            let found = self.db.get(&path, &key(n(i)), None, version()).value;
            match found.map_err(failed)? {
                Element::Item(found, _) if found == value(n(i)) => Ok(()),
                _ => Err("another element".into()),
            }
        })
    }

    fn prove(&self, n: u64) -> Result<Vec<u8>> {
        self.prove(&query(n))
    }

    fn verify(&self, proof: &Vec<u8>, n: u64, present: bool) -> Result<()> {
        match (present, self.shown(proof, &query(n))?.first()) {
            (true, Some(Element::Item(shown, _))) if *shown == value(n) => Ok(()),
            (false, None) => Ok(()),
            _ => Err("another element".into()),
        }
    }

    fn proof_bytes(&self, proof: &Vec<u8>, _present: bool) -> Result<usize> {
        Ok(proof.len())
    }

    fn more(&mut self, bench: &mut Bench<'_>) -> Result<()> {
        self.ranges(bench)
    }
}

/// The rows that need trees of their own.
pub(crate) fn measure(bench: &mut Bench<'_>) -> Result<()> {
    if DEPTHS.iter().flatten().any(|row| bench.wants(row)) {
        let db = GroveDb::open(bench.dir.join("depths")).map_err(failed)?;
        nested::measure(bench, &Nest(db))?;
    }
    Ok(())
}

/// Trees in trees.
struct Nest(GroveDb);

impl Nested for Nest {
    fn insert(&self, path: &nested::Path, from: u64, to: u64) -> Result<()> {
        put(&self.0, path, from..to)
    }

    fn begin_below(&self, path: &nested::Path, key: &[u8]) -> Result<()> {
        insert(&self.0, path, key, Element::empty_sum_tree())
    }

    fn get(&self, path: &nested::Path, n: u64) -> Result<()> {
        let found = self.0.get(path, &key(n), None, version()).value;
        match found.map_err(failed)? {
            Element::Item(found, _) if found == value(n) => Ok(()),
            _ => Err("another element".into()),
        }
    }

    fn prove(&self, path: &nested::Path, n: u64) -> Result<()> {
        let query = PathQuery::new_single_key(path.to_vec(), key(n).to_vec());
        let proof = self.0.prove_query(&query, None, version()).value;
        proof.map(drop).map_err(failed)
    }
}
