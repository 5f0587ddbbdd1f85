//! A HyperLogLog as a string has it, in the bytes of Redis, so that values go from one to the other unchanged.
//!
//! ```text
//! "HYLL"  encoding  3 unused bytes  the count that was last worked out, little-endian; its highest bit says that it is stale
//! dense:  16384 registers of 6 bits, each beginning where the one before it ends, from the lowest bit of the first byte on
//! sparse: runs of equal registers:  00llllll               l + 1 that are 0
//!                                   01llllll llllllll      the same
//!                                   1vvvvvll               l + 1 that are v + 1
//! ```
//!
//! A register has the length of the longest run of zeros among the hashes that belong to it. Those of few elements are mostly 0, which the sparse encoding makes use of.

use crate::error::CommandError;

pub(super) const REGISTERS: usize = 1 << INDEX_BITS;
const INDEX_BITS: u32 = 14;
/// Bits of a hash that are looked at for a run.
const RUN_BITS: usize = 64 - INDEX_BITS as usize;
const REGISTER_BITS: usize = 6;
const DENSE_BYTES: usize = REGISTERS * REGISTER_BITS / 8;
const HEADER: usize = 16;
const MAGIC: &[u8] = b"HYLL";
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
const STALE: u64 = 1 << 63;

/// The longest runs of each kind, and the largest register, in the sparse encoding.
const ZEROS_MAX: usize = 64;
const MANY_ZEROS_MAX: usize = REGISTERS;
const EQUAL_MAX: usize = 4;
const VALUE_MAX: u8 = 32;

/// One byte for each register.
pub(super) type Registers = [u8; REGISTERS];

/// Registers that follow each other and are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    len: usize,
    value: u8,
}

/// A HyperLogLog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sketch {
    /// The registers as they are packed.
    Dense(Vec<u8>),
    /// Neighbours have other values.
    Sparse(Vec<Run>),
}

fn no_sketch() -> CommandError {
    CommandError::new("WRONGTYPE Key is not a valid HyperLogLog string value.")
}

fn corrupted() -> CommandError {
    CommandError::new("INVALIDOBJ Corrupted HLL object detected")
}

/// The count that a string remembers, if that is not stale.
pub(super) fn remembered(bytes: &[u8]) -> Result<Option<u64>, CommandError> {
    encoding(bytes)?;
    let count = bytes[8..HEADER]
        .try_into()
        .map(u64::from_le_bytes)
        .unwrap_or(STALE);
    Ok(Some(count).filter(|count| count & STALE == 0))
}

/// Writes into a string which count was worked out.
pub(super) fn remember(bytes: &mut [u8], count: u64) {
    if let Some(place) = bytes.get_mut(8..HEADER) {
        place.copy_from_slice(&count.to_le_bytes());
    }
}

/// Takes the count over that a string had before, which may be stale now.
pub(super) fn inherit(bytes: &mut [u8], before: &[u8], stale: bool) {
    let count = before.get(8..HEADER).and_then(|count| count.try_into().ok());
    if let Some(count) = count.map(u64::from_le_bytes) {
        remember(bytes, if stale { count | STALE } else { count });
    }
}

fn encoding(bytes: &[u8]) -> Result<u8, CommandError> {
    match bytes.get(4) {
        Some(&DENSE) if bytes.starts_with(MAGIC) && bytes.len() == HEADER + DENSE_BYTES => Ok(DENSE),
        Some(&SPARSE) if bytes.starts_with(MAGIC) && bytes.len() >= HEADER => Ok(SPARSE),
        _ => Err(no_sketch()),
    }
}

impl Sketch {
    /// One without elements.
    pub(super) fn new() -> Sketch {
        Sketch::Sparse(vec![Run {
            len: REGISTERS,
            value: 0,
        }])
    }

    /// Reads a string.
    pub(super) fn decode(bytes: &[u8]) -> Result<Sketch, CommandError> {
        if encoding(bytes)? == DENSE {
            return Ok(Sketch::Dense(bytes[HEADER..].to_vec()));
        }
        let (mut runs, mut total) = (Vec::new(), 0);
        let mut rest = &bytes[HEADER..];
        while let [first, after @ ..] = rest {
            rest = after;
            let low = usize::from(first & 0x3f);
            let run = match (first >> 6, rest) {
                (0, _) => Run {
                    len: low + 1,
                    value: 0,
                },
                (1, [second, after @ ..]) => {
                    rest = after;
                    Run {
                        len: (low << 8 | usize::from(*second)) + 1,
                        value: 0,
                    }
                }
                (1, []) => return Err(corrupted()),
                _ => Run {
                    len: usize::from(first & 3) + 1,
                    value: (first >> 2 & 0x1f) + 1,
                },
            };
            total += run.len;
            if total > REGISTERS {
                return Err(corrupted());
            }
            push(&mut runs, run);
        }
        match total {
            REGISTERS => Ok(Sketch::Sparse(runs)),
            _ => Err(corrupted()),
        }
    }

    /// The string, with a count that is stale. It is dense where the sparse encoding would take more than `sparse_max` bytes.
    pub(super) fn encode(&mut self, sparse_max: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + DENSE_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[SPARSE, 0, 0, 0]);
        bytes.extend_from_slice(&STALE.to_le_bytes());
        if let Sketch::Sparse(runs) = &*self {
            if runs.iter().all(|run| run.value <= VALUE_MAX) {
                runs.iter().for_each(|run| encode_run(&mut bytes, *run));
                // What holds nothing stays sparse however small the bound is.
                if bytes.len() <= sparse_max || runs.len() == 1 {
                    return bytes;
                }
                bytes.truncate(HEADER);
            }
            self.make_dense();
        }
        bytes[4] = DENSE;
        if let Sketch::Dense(packed) = self {
            bytes.extend_from_slice(packed);
        }
        bytes
    }

    /// Goes over to the dense encoding; whether it was another.
    pub(super) fn make_dense(&mut self) -> bool {
        let Sketch::Sparse(runs) = &*self else {
            return false;
        };
        let mut packed = vec![0; DENSE_BYTES];
        let mut at = 0;
        for run in runs {
            if run.value > 0 {
                (at..at + run.len).for_each(|at| set_packed(&mut packed, at, run.value));
            }
            at += run.len;
        }
        *self = Sketch::Dense(packed);
        true
    }

    /// Adds an element; whether that changed anything.
    pub(super) fn add(&mut self, element: &[u8], sparse_max: usize) -> bool {
        let hash = hash(element);
        let index = (hash % REGISTERS as u64) as usize;
        // The bit ends the run where all others are 0.
        let rest = hash >> INDEX_BITS | 1 << RUN_BITS;
        self.raise(index, rest.trailing_zeros() as u8 + 1, sparse_max)
    }

    /// Raises a register to a value; whether it was lower.
    pub(super) fn raise(&mut self, index: usize, value: u8, sparse_max: usize) -> bool {
        if let Sketch::Sparse(runs) = self {
            // Each run takes a byte or more.
            if value > VALUE_MAX || runs.len() > sparse_max.max(HEADER) {
                self.make_dense();
            } else {
                return raise_in(runs, index, value);
            }
        }
        match self {
            Sketch::Dense(packed) if packed_at(packed, index) < value => {
                set_packed(packed, index, value);
                true
            }
            _ => false,
        }
    }

    /// Raises registers to those of this one.
    pub(super) fn merge_into(&self, registers: &mut Registers) {
        match self {
            Sketch::Dense(packed) => {
                for (at, register) in registers.iter_mut().enumerate() {
                    *register = packed_at(packed, at).max(*register);
                }
            }
            Sketch::Sparse(runs) => {
                let mut rest = &mut registers[..];
                for run in runs {
                    let (these, after) = rest.split_at_mut(run.len);
                    these
                        .iter_mut()
                        .for_each(|register| *register = run.value.max(*register));
                    rest = after;
                }
            }
        }
    }

    /// About how many different elements were added.
    pub(super) fn count(&self) -> u64 {
        let mut registers = [0; REGISTERS];
        self.merge_into(&mut registers);
        count(&registers)
    }

    /// Its encoding, as `PFDEBUG` names it.
    pub(super) fn encoding(&self) -> &'static str {
        match self {
            Sketch::Dense(_) => "dense",
            Sketch::Sparse(_) => "sparse",
        }
    }

    /// The runs as they are encoded, in the words of `PFDEBUG DECODE`; nothing of a dense one.
    pub(super) fn describe(&self) -> Option<String> {
        let Sketch::Sparse(runs) = self else { return None };
        let mut words = Vec::new();
        for run in runs {
            pieces(*run, |piece| {
                words.push(match piece {
                    Run { len, value: 0 } if len <= ZEROS_MAX => format!("z:{len}"),
                    Run { len, value: 0 } => format!("Z:{len}"),
                    Run { len, value } => format!("v:{value},{len}"),
                });
            });
        }
        Some(words.join(" "))
    }
}

/// About how many different elements raise registers to these: the estimator of Otmar Ertl (arXiv 1702.01284), which needs no tables of corrections.
pub(super) fn count(registers: &Registers) -> u64 {
    let mut histogram = [0_u32; 64];
    for register in registers {
        histogram[usize::from(register & 63)] += 1;
    }
    let m = REGISTERS as f64;
    let mut z = m * tau(1.0 - f64::from(histogram[RUN_BITS + 1]) / m);
    for number in histogram[1..=RUN_BITS].iter().rev() {
        z = 0.5 * (z + f64::from(*number));
    }
    z += m * sigma(f64::from(histogram[0]) / m);
    let alpha = 0.5 / std::f64::consts::LN_2;
    (alpha * m * m / z).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

/// Adds a run at the end.
fn push(runs: &mut Vec<Run>, run: Run) {
    match runs.last_mut() {
        Some(last) if last.value == run.value => last.len += run.len,
        _ if run.len == 0 => {}
        _ => runs.push(run),
    }
}

fn raise_in(runs: &mut Vec<Run>, index: usize, value: u8) -> bool {
    let (mut at, mut first) = (0, 0);
    while first + runs[at].len <= index {
        first += runs[at].len;
        at += 1;
    }
    let run = runs[at];
    if run.value >= value {
        return false;
    }
    // Its neighbours are put together with what becomes of it.
    let (start, end) = (at.saturating_sub(1), (at + 2).min(runs.len()));
    let mut parts = Vec::with_capacity(5);
    runs[start..at].iter().for_each(|run| push(&mut parts, *run));
    for (len, value) in [
        (index - first, run.value),
        (1, value),
        (first + run.len - index - 1, run.value),
    ] {
        if len > 0 {
            push(&mut parts, Run { len, value });
        }
    }
    runs[at + 1..end].iter().for_each(|run| push(&mut parts, *run));
    runs.splice(start..end, parts);
    true
}

/// Cuts a run into those that can be encoded.
fn pieces(run: Run, mut give: impl FnMut(Run)) {
    let max = if run.value == 0 { MANY_ZEROS_MAX } else { EQUAL_MAX };
    let mut left = run.len;
    while left > 0 {
        let len = left.min(max);
        give(Run { len, ..run });
        left -= len;
    }
}

fn encode_run(bytes: &mut Vec<u8>, run: Run) {
    pieces(run, |Run { len, value }| {
        let low = len - 1;
        match value {
            0 if len <= ZEROS_MAX => bytes.push(low as u8),
            0 => bytes.extend_from_slice(&[0x40 | (low >> 8) as u8, low as u8]),
            value => bytes.push(0x80 | (value - 1) << 2 | low as u8),
        }
    });
}

fn packed_at(packed: &[u8], index: usize) -> u8 {
    let (at, shift) = (index * REGISTER_BITS / 8, index * REGISTER_BITS % 8);
    let two = u16::from(packed[at]) | u16::from(packed.get(at + 1).copied().unwrap_or(0)) << 8;
    (two >> shift) as u8 & 0x3f
}

fn set_packed(packed: &mut [u8], index: usize, value: u8) {
    let (at, shift) = (index * REGISTER_BITS / 8, index * REGISTER_BITS % 8);
    let (mask, bits) = (0x3f_u16 << shift, u16::from(value & 0x3f) << shift);
    packed[at] = packed[at] & !(mask as u8) | bits as u8;
    if mask > 0xff {
        packed[at + 1] = packed[at + 1] & !((mask >> 8) as u8) | (bits >> 8) as u8;
    }
}

/// MurmurHash64A with the seed of Redis.
fn hash(element: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mut h = 0xadc8_3b19 ^ (element.len() as u64).wrapping_mul(M);
    let mut words = element.chunks_exact(8);
    for word in &mut words {
        let mut k = u64::from_le_bytes(word.try_into().unwrap_or_default()).wrapping_mul(M);
        k = (k ^ k >> 47).wrapping_mul(M);
        h = (h ^ k).wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        h = (h ^ u64::from_le_bytes(last)).wrapping_mul(M);
    }
    h = (h ^ h >> 47).wrapping_mul(M);
    h ^ h >> 47
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPARSE_MAX: usize = 3000;

    fn of(elements: std::ops::Range<u64>) -> Sketch {
        let mut sketch = Sketch::new();
        for element in elements {
            sketch.add(element.to_string().as_bytes(), SPARSE_MAX);
        }
        sketch
    }

    #[test]
    fn both_encodings_say_the_same_and_are_read_back() {
        for number in [0, 1, 2, 100, 1500, 3000, 50_000] {
            let mut sketch = of(0..number);
            let bytes = sketch.encode(SPARSE_MAX);
            let mut read = Sketch::decode(&bytes).expect("it was encoded by us");
            assert_eq!(read, sketch, "{number}");
            assert_eq!(remembered(&bytes).expect("a sketch"), None);
            assert_eq!(bytes.len() > SPARSE_MAX, sketch.encoding() == "dense", "{number}");
            let (sparse, was) = (read.count(), read.encoding());
            assert_eq!(read.make_dense(), was == "sparse");
            assert_eq!(read.count(), sparse);
            let error = sparse.abs_diff(number) as f64;
            assert!(error <= 0.03 * number as f64, "{sparse} for {number}");
        }
    }

    #[test]
    fn what_was_added_changes_nothing_when_it_is_added_again() {
        for number in [10, 20_000] {
            let mut sketch = of(0..number);
            let before = sketch.clone();
            for element in 0..number {
                assert!(!sketch.add(element.to_string().as_bytes(), SPARSE_MAX));
            }
            assert_eq!(sketch, before);
        }
    }

    #[test]
    fn any_order_makes_the_same_runs() {
        let mut backward = Sketch::new();
        for element in (0..500_u64).rev() {
            backward.add(element.to_string().as_bytes(), SPARSE_MAX);
        }
        assert_eq!(backward, of(0..500));
    }

    #[test]
    fn a_register_that_is_too_large_or_too_many_runs_make_it_dense() {
        let mut sketch = Sketch::new();
        assert!(sketch.raise(5, VALUE_MAX, SPARSE_MAX));
        assert_eq!(sketch.encoding(), "sparse");
        assert!(sketch.raise(16383, VALUE_MAX + 1, SPARSE_MAX));
        assert_eq!(sketch.encoding(), "dense");
        let mut registers = [0; REGISTERS];
        sketch.merge_into(&mut registers);
        assert_eq!((registers[5], registers[16383], registers[6]), (32, 33, 0));
        let mut sketch = of(0..30);
        assert_eq!(sketch.encode(20).len(), HEADER + DENSE_BYTES);
        assert_eq!(Sketch::new().encode(0).len(), HEADER + 2);
    }

    #[test]
    fn damage_is_an_error_or_another_sketch() {
        let good = of(0..200).encode(SPARSE_MAX);
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            bytes.truncate(random.usize(good.len() - 3..=good.len()));
            if let Ok(sketch) = Sketch::decode(&bytes) {
                sketch.count();
            }
        }
        for bytes in [&b""[..], b"HYLL", b"HYLL\x01", &good[..HEADER], &[0; 100]] {
            assert!(Sketch::decode(bytes).is_err());
        }
        assert!(Sketch::decode(&[&good[..], b"hello"].concat()).is_err());
    }

    #[test]
    fn hashes_are_those_of_redis() {
        // Which registers redis-server 7.0.15 raises for these.
        let mut sketch = Sketch::new();
        for element in [&b"a"[..], b"b", b"c", b"", b"a longer element of 31 bytes, so"] {
            sketch.add(element, SPARSE_MAX);
        }
        assert_eq!(sketch.describe().as_deref(), Some(REDIS_HAS));
    }

    const REDIS_HAS: &str = "Z:5938 v:2,1 Z:2216 v:1,1 Z:280 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603";
}
