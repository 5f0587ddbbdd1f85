//! From a proof and a root hash to an answer.
//!
//! A proof is a version and one layer after another. The query says which tree each layer is of: those on its
//! path, the one asked about, and then, for a query below, those of each entry found, in order. The proof has
//! no say in it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::answer::{Answer, Entry};
use crate::codec::{Fault, Reader};
use crate::element::Element;
use crate::error::Error;
use crate::hash::Hash;
use crate::layer::Layer;
use crate::planted::{Check, left_out};
use crate::query::{Ask, Query};
use crate::selection::Selection;

/// The first byte of a proof.
pub const PROOF_VERSION: u8 = 1;

/// Longer proofs are refused unread. Verifying takes time and memory in proportion to the proof: at most some
/// forty times its bytes.
pub const PROOF_LEN_MAX: usize = 1 << 26;

/// What `proof` proves in answer to `query` about the tree whose root hash is `root`.
///
/// The answer is exactly the one that the tree gives: an honest proof of it exists, no other bytes are
/// accepted, and no proof of another answer can be made without breaking BLAKE3. That holds for a root made
/// by an honest builder, one that keeps keys in order; whoever can choose the root can prove anything, so
/// take it from someone you trust.
///
/// ```
/// # #[cfg(feature = "prove")] {
/// use weald_proof::{Element, Forest, Query, prove, verify};
///
/// let mut forest = Forest::new();
/// forest.put(&[], b"colour", Element::Item(b"green".to_vec())).unwrap();
/// let query = Query::key(b"colour");
/// let proof = prove(&forest, &query).unwrap();
///
/// let answer = verify(&proof, &forest.root(), &query).unwrap();
/// assert_eq!(answer.entries()[0].element, Element::Item(b"green".to_vec()));
/// assert!(verify(&proof, &forest.root(), &Query::key(b"shape")).is_err());
/// # }
/// ```
pub fn verify(proof: &[u8], root: &Hash, query: &Query) -> Result<Answer, Error> {
    query.check()?;
    if proof.len() > PROOF_LEN_MAX {
        return Err(Error::TooLong { len: proof.len() });
    }
    let mut reader = Reader::new(proof);
    if reader.byte()? != PROOF_VERSION && !left_out(Check::Version) {
        return Err(reader.fault(0, Fault::Unknown).into());
    }
    let answer = tree(&mut reader, root, None, query)?;
    if !left_out(Check::End) {
        reader.end()?;
    }
    Ok(answer)
}

/// Answers `query` about the tree at `root`, which is held by `holder`.
fn tree(
    reader: &mut Reader<'_>,
    root: &Hash,
    holder: Option<&Element>,
    query: &Query,
) -> Result<Answer, Error> {
    let (mut root, mut holder) = (*root, holder.cloned());
    for (depth, segment) in query.path.iter().enumerate() {
        let found = entries(reader, &root, holder.as_ref(), &Query::key(segment).ask)?
            .0
            .pop();
        let element = found.map(|entry| entry.element);
        let Some(subtree) = element.as_ref().and_then(Element::subtree) else {
            return Ok(Answer::NoSubtree { depth });
        };
        root = *subtree;
        holder = element;
    }

    let (mut entries, counted) = entries(reader, &root, holder.as_ref(), &query.ask)?;
    match &query.ask {
        Ask::Totals(_) => return Ok(Answer::Totals(counted)),
        Ask::Entries(select) => {
            if let Some(below) = &select.below {
                for entry in &mut entries {
                    if let Some(root) = entry.element.subtree() {
                        entry.below = Some(Box::new(tree(reader, root, Some(&entry.element), below)?));
                    }
                }
            }
        }
    }
    Ok(Answer::Entries(entries))
}

/// Reads one layer: what it answers to `ask`.
fn entries(
    reader: &mut Reader<'_>,
    root: &Hash,
    holder: Option<&Element>,
    ask: &Ask,
) -> Result<(Vec<Entry>, crate::answer::Totals), Error> {
    let layer = Layer::read(reader, root)?;
    let agrees = holder.is_none_or(|holder| holder.agrees(layer.totals.count, layer.totals.sum));
    if !agrees && !left_out(Check::Holder) {
        return Err(Error::Totals { at: reader.at() });
    }
    let Selection { entries, counted } = Selection::of(&layer, ask)?;
    let mut found = Vec::with_capacity(entries.len());
    for leaf in entries {
        if let Some(value) = &leaf.value {
            found.push(Entry {
                key: leaf.key.to_vec(),
                element: value.element()?,
                below: None,
            });
        }
    }
    Ok((found, counted))
}
