//! Batches survive encoding, and bytes that are no batch are refused.

use std::path::Path;

use proptest::prelude::*;

use super::{Batch, BatchEncoder, FRAME_HEADER};
use crate::error::Error;
use crate::ids::{PagePtr, TreeId};
use crate::op::{Entry, LargeRef, Op, Value};

fn encode(ops: &[Op<'_>]) -> Vec<u8> {
    let mut encoder = BatchEncoder::new();
    ops.iter().for_each(|op| encoder.push(op));
    let batch = encoder.finish().unwrap();
    assert_eq!(batch.frame_len() % 8, 0);
    batch.frame[FRAME_HEADER..FRAME_HEADER + batch.len].to_vec()
}

fn decode(bytes: &[u8]) -> Result<Vec<Op<'_>>, Error> {
    Batch::new(bytes, Path::new("log"), 100).ops().collect()
}

/// What an operation is made of: its kind, tree, bytes and number.
type Parts = (u8, u64, Vec<u8>, Vec<u8>, Option<u64>);

fn op((kind, tree, a, b, n): &Parts) -> Op<'_> {
    let tree = TreeId(*tree);
    let large = LargeRef {
        first: PagePtr::from_bits(*n.as_ref().unwrap_or(&7)),
        len: a.len() as u64,
        checksum: b.len() as u64,
    };
    let put = |value| Op::Put {
        tree,
        key: a,
        entry: Entry { value, expires: *n },
    };
    match kind % 6 {
        0 => put(Value::Inline(b)),
        1 => put(Value::Large(large)),
        2 => Op::Delete { tree, key: a },
        3 => Op::DeleteRange {
            tree,
            start: a,
            end: n.map(|_| &b[..]),
        },
        4 => Op::Run { large, bytes: b },
        _ => Op::DropTree { tree },
    }
}

fn parts() -> impl Strategy<Value = Vec<Parts>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..300);
    let number = prop_oneof![0..300u64, any::<u64>(), Just(u64::MAX)];
    prop::collection::vec(
        (
            any::<u8>(),
            number.clone(),
            bytes(),
            bytes(),
            prop::option::of(number),
        ),
        0..8,
    )
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(parts in parts()) {
        let ops: Vec<_> = parts.iter().map(op).collect();
        let bytes = encode(&ops);
        prop_assert_eq!(decode(&bytes).unwrap(), ops);
    }

    #[test]
    fn any_bytes_are_a_batch_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        match decode(&bytes) {
            // One form only: what decodes is what the encoder makes of it.
            Ok(ops) => prop_assert_eq!(encode(&ops), bytes.clone()),
            Err(e) => prop_assert!(matches!(e, Error::Corrupt(_))),
        }
    }

    #[test]
    fn a_changed_byte_gives_other_operations_or_an_error(parts in parts(), at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let ops: Vec<_> = parts.iter().map(op).collect();
        let mut bytes = encode(&ops);
        prop_assume!(!bytes.is_empty());
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(other) = decode(&bytes) {
            prop_assert_ne!(other, ops);
        }
    }

    #[test]
    fn a_batch_cut_short_within_an_operation_is_an_error(parts in parts(), at in any::<prop::sample::Index>()) {
        let ops: Vec<_> = parts.iter().map(op).collect();
        let bytes = encode(&ops);
        prop_assume!(!bytes.is_empty());
        let cut = &bytes[..at.index(bytes.len())];
        let borders: Vec<_> = (0..=ops.len()).map(|n| encode(&ops[..n]).len()).collect();
        prop_assert_eq!(decode(cut).is_ok(), borders.contains(&cut.len()));
    }
}

#[test]
fn an_error_names_the_place() {
    let mut bytes = encode(&[Op::DropTree { tree: TreeId(16) }]);
    bytes.push(99);
    bytes.push(0);
    let Err(Error::Corrupt(corruption)) = decode(&bytes) else {
        panic!("tag 99 is none")
    };
    assert_eq!(corruption.offset, Some(102));
}

#[test]
fn the_buffer_of_a_batch_is_used_again() {
    let mut encoder = BatchEncoder::new();
    encoder.push(&Op::Delete {
        tree: TreeId(0),
        key: &[7; 1000],
    });
    let encoder = encoder.finish().unwrap().into_encoder();
    assert!(encoder.is_empty());
    assert!(encoder.finish().unwrap().frame.capacity() >= 1000);
}
