//! The bytes of a file in memory.

use std::collections::BTreeMap;

const CHUNK: usize = 16 << 10;

/// Bytes in chunks; what was never written takes no room and reads as zeros.
#[derive(Debug, Default)]
pub(super) struct Contents {
    len: u64,
    /// By number. Nothing but zeros lies beyond `len`.
    chunks: BTreeMap<u64, Box<[u8; CHUNK]>>,
}

impl Contents {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> usize {
        let Some(rest) = self.len.checked_sub(offset) else {
            return 0;
        };
        let total = usize::try_from(rest).unwrap_or(usize::MAX).min(buf.len());
        for (number, inner, outer) in pieces(offset, total) {
            let target = &mut buf[outer..][..inner.len()];
            match self.chunks.get(&number) {
                Some(chunk) => target.copy_from_slice(&chunk[inner]),
                None => target.fill(0),
            }
        }
        total
    }

    /// Writes at an offset that a file can have.
    pub(super) fn write_at(&mut self, buf: &[u8], offset: u64) {
        for (number, inner, outer) in pieces(offset, buf.len()) {
            let source = &buf[outer..][..inner.len()];
            self.chunks.entry(number).or_insert_with(|| Box::new([0; CHUNK]))[inner].copy_from_slice(source);
        }
        if !buf.is_empty() {
            self.len = self.len.max(offset + buf.len() as u64);
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.zero(len, u64::MAX);
        }
        self.len = len;
    }

    /// Turns the bytes from `start` to `end` into zeros and frees the chunks that lie there whole.
    pub(super) fn zero(&mut self, start: u64, end: u64) {
        let end = end.min(self.len);
        if start >= end {
            return;
        }
        let whole = start.div_ceil(CHUNK as u64)..end.div_ceil(CHUNK as u64);
        let touched: Vec<u64> = self
            .chunks
            .range(start / CHUNK as u64..whole.end)
            .map(|(&number, _)| number)
            .collect();
        for number in touched {
            let base = number * CHUNK as u64;
            let from = start.saturating_sub(base).min(CHUNK as u64) as usize;
            let to = (end - base).min(CHUNK as u64) as usize;
            // Bytes beyond the length are zeros anyway, so the last chunk is whole if it is cut at the
            // length.
            if from == 0 && (to == CHUNK || end == self.len) {
                self.chunks.remove(&number);
            } else if let Some(chunk) = self.chunks.get_mut(&number) {
                chunk[from..to].fill(0);
            }
        }
    }
}

/// The parts of the chunks that `total` bytes from `offset` on lie in: number, range inside, position in the
/// buffer.
fn pieces(offset: u64, total: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == total {
            return None;
        }
        let at = offset + done as u64;
        let from = (at % CHUNK as u64) as usize;
        let to = (from + total - done).min(CHUNK);
        let piece = (at / CHUNK as u64, from..to, done);
        done += to - from;
        Some(piece)
    })
}
