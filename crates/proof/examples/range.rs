//! A range, proven by the holder of the data and verified by someone who has nothing but a root hash.
//!
//! `cargo run --release -p weald-proof --example range`

use std::error::Error;

use weald_proof::{Direction, Element, Forest, Hash, Query, Range, prove, verify};

fn main() -> Result<(), Box<dyn Error>> {
    let holder = Holder::with_orders(10_000)?;
    let root = holder.0.root(); // Published, or known from a source that is trusted.

    // The ten dearest orders of Kyoto's bracket 5000 to 5999, and how many there are in all.
    let bracket = Range::of(&b"order-05000"[..]..b"order-06000");
    let dearest = Query::entries([bracket.clone()])
        .at(["orders", "kyoto"])
        .direction(Direction::Descending)
        .limit(10);
    let totals = Query::totals(bracket).at(["orders", "kyoto"]);

    for query in [dearest, totals] {
        let proof = holder.answer(&query)?;
        println!("{} bytes from the holder", proof.len());
        visit(&proof, &root, &query)?;
    }
    Ok(())
}

/// The side with the data.
struct Holder(Forest);

impl Holder {
    fn with_orders(count: u32) -> Result<Holder, Box<dyn Error>> {
        let mut forest = Forest::new();
        let subtree = Element::SumTree {
            root: Hash([0; 32]),
            sum: 0,
        };
        forest.put(&[], b"orders", subtree.clone())?;
        forest.put(&[b"orders"], b"kyoto", subtree)?;
        let order = |n: u32| {
            (
                format!("order-{n:05}").into_bytes(),
                Some(Element::SumItem(i64::from(n) * 7 % 1000)),
            )
        };
        forest.apply(&[b"orders", b"kyoto"], (0..count).map(order).collect())?;
        Ok(Holder(forest))
    }

    fn answer(&self, query: &Query) -> Result<Vec<u8>, Box<dyn Error>> {
        Ok(prove(&self.0, query)?)
    }
}

/// The side without: this part needs only the verifier, built without the feature `prove`.
fn visit(proof: &[u8], root: &Hash, query: &Query) -> Result<(), weald_proof::Error> {
    let answer = verify(proof, root, query)?;
    match &answer {
        weald_proof::Answer::Totals(totals) => {
            println!("proven: {} orders, worth {}", totals.count, totals.sum)
        }
        answer => {
            for entry in answer.entries() {
                println!(
                    "proven: {} is worth {}",
                    entry.key.escape_ascii(),
                    entry.element.sum()
                );
            }
        }
    }

    let mut forged = proof.to_vec();
    forged[proof.len() / 2] ^= 1;
    println!(
        "forged: {}",
        verify(&forged, root, query).expect_err("one bit is wrong")
    );
    Ok(())
}
