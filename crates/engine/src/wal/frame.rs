//! A frame: one record of the log with the header that proves it.
//!
//! The header's checksum is seeded with the salt of the segment, so what an earlier use of the file left there is never
//! valid; it covers the hash of the payload, which is computed before the place in the log is known.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::ids::{Lsn, TxId};

/// Bytes before the payload.
pub(super) const FRAME_HEADER: usize = 48;

/// The largest payload: what a crafted log can make a reader allocate.
pub(super) const MAX_PAYLOAD: usize = 1 << 30;

/// Where each frame begins and ends.
pub(super) const ALIGN: usize = 8;

/// Payload of a commit: a batch of operations.
pub(super) const COMMIT: u16 = 1;
/// Payload of a checkpoint: its position, 8 bytes.
pub(super) const CHECKPOINT: u16 = 2;

/// `len` rounded up to where the next frame may begin.
pub(super) fn padded(len: usize) -> usize {
    len.next_multiple_of(ALIGN)
}

/// What precedes the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) len: u32,
    pub(super) kind: u16,
    /// Where the frame is.
    pub(super) lsn: Lsn,
    /// Everything below was durable when the frame was written: what tells damage from a torn tail.
    pub(super) durable: Lsn,
    pub(super) txid: TxId,
    pub(super) payload_hash: u64,
}

impl FrameHeader {
    pub(super) fn encode(&self, salt: u64) -> [u8; FRAME_HEADER] {
        let mut out = [0; FRAME_HEADER];
        out[..4].copy_from_slice(&self.len.to_le_bytes());
        out[4..6].copy_from_slice(&self.kind.to_le_bytes());
        out[8..16].copy_from_slice(&self.lsn.0.to_le_bytes());
        out[16..24].copy_from_slice(&self.durable.0.to_le_bytes());
        out[24..32].copy_from_slice(&self.txid.0.to_le_bytes());
        out[32..40].copy_from_slice(&self.payload_hash.to_le_bytes());
        let check = xxh3_64_with_seed(&out[..40], salt);
        out[40..].copy_from_slice(&check.to_le_bytes());
        out
    }

    /// The header at `lsn`, or `None` where there is none that belongs there.
    pub(super) fn decode(bytes: &[u8; FRAME_HEADER], salt: u64, lsn: Lsn) -> Option<FrameHeader> {
        let word = |i: usize| u64::from_le_bytes(bytes[i..i + 8].try_into().expect("eight bytes"));
        // The position first: a search for frames dismisses nearly every place by this comparison alone.
        if word(8) != lsn.0 || word(40) != xxh3_64_with_seed(&bytes[..40], salt) {
            return None;
        }
        let header = FrameHeader {
            len: word(0) as u32,
            kind: (word(0) >> 32) as u16,
            lsn,
            durable: Lsn(word(16)),
            txid: TxId(word(24)),
            payload_hash: word(32),
        };
        let sound = header.len as usize <= MAX_PAYLOAD && header.durable <= lsn && word(0) >> 48 == 0;
        sound.then_some(header)
    }

    /// Bytes from this frame to the next.
    pub(super) fn frame_len(&self) -> u64 {
        (FRAME_HEADER + padded(self.len as usize)) as u64
    }
}
