//! One side holds a database and proves a range; the other has a root hash, and nothing but `weald-proof` to check with.
//!
//! ```text
//! cargo run -p weald-tree --example proven_range
//! ```

use weald_engine::{Database, DatabaseOptions, PageSize};
use weald_proof::{Answer, Direction, Element, Hash, Query, Range, verify};
use weald_tree::{TreeKind, TreeStore};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let options = DatabaseOptions::new().page_size(PageSize::Size16K);
    let store = TreeStore::open(Database::open_with_options(
        dir.path().join("bank.weald"),
        options,
    )?)?;

    store.transact(|tx| {
        tx.create_tree(&[], b"accounts", TreeKind::Sum)?;
        for (name, cents) in [("ada", 120_000), ("bob", 3_500), ("cleo", 78_000), ("dan", 400)] {
            tx.put(&[b"accounts"], name.as_bytes(), Element::SumItem(cents))?;
        }
        Ok(())
    })?;

    let query = Query::entries([Range::of(&b"b"[..]..b"d")])
        .at(["accounts"])
        .direction(Direction::Descending);
    let snapshot = store.snapshot()?;
    let (root, proof) = (snapshot.root()?, snapshot.prove(&query)?);
    println!("root hash {root:?}, proof of {} bytes", proof.len());

    for (name, cents) in elsewhere(&root, &query, &proof)? {
        println!("{name} has {cents}");
    }

    let mut forged = proof;
    forged[40] ^= 1;
    assert!(elsewhere(&root, &query, &forged).is_err());
    Ok(())
}

/// What someone does who has neither the database nor trust in whoever has it.
fn elsewhere(root: &Hash, query: &Query, proof: &[u8]) -> Result<Vec<(String, i64)>, weald_proof::Error> {
    let answer: Answer = verify(proof, root, query)?;
    let accounts = answer.entries().iter().map(|entry| match entry.element {
        Element::SumItem(cents) => (String::from_utf8_lossy(&entry.key).into_owned(), cents),
        _ => ("no account".to_owned(), 0),
    });
    Ok(accounts.collect())
}
