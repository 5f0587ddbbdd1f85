//! Search among heads: the first four bytes of each key after the prefix that a page's keys share, as ascending numbers.

/// The head of `key`: four bytes from `skip` on, as a big-endian number, padded with zeros.
#[inline]
pub(super) fn head(key: &[u8], skip: usize) -> u32 {
    match key.get(skip..) {
        Some([a, b, c, d, ..]) => u32::from_be_bytes([*a, *b, *c, *d]),
        Some(short) => {
            short
                .iter()
                .fold((0, 24), |(head, shift), byte| {
                    (head | u32::from(*byte) << shift, shift - 8)
                })
                .0
        }
        None => 0,
    }
}

/// The heads of a page as they lie there.
#[derive(Clone, Copy)]
pub(super) struct Heads<'p>(&'p [[u8; 4]]);

impl<'p> Heads<'p> {
    #[inline]
    pub(super) fn new(bytes: &'p [u8]) -> Heads<'p> {
        Heads(bytes.as_chunks().0)
    }

    #[inline]
    pub(super) fn get(self, index: usize) -> Option<u32> {
        self.0.get(index).map(|head| u32::from_le_bytes(*head))
    }

    /// How many are below `head`. Halves without branches down to sixteen, then compares those all at once.
    #[inline]
    pub(super) fn below(self, head: u32) -> usize {
        let mut rest = self.0;
        let mut before = 0;
        while rest.len() > 16 {
            let half = rest.len() / 2;
            let (low, high) = rest.split_at(half);
            let right = low.last().is_some_and(|last| u32::from_le_bytes(*last) < head);
            before += if right { half } else { 0 };
            rest = if right { high } else { &rest[..rest.len() - half] };
        }
        let here: u32 = rest
            .iter()
            .map(|h| u32::from(u32::from_le_bytes(*h) < head))
            .sum();
        before + here as usize
    }

    /// Where the run of heads equal to `head` ends that begins at `from`.
    #[inline]
    pub(super) fn end_of_run(self, head: u32, from: usize) -> usize {
        if self.get(from + 1) != Some(head) {
            return from + 1;
        }
        head.checked_add(1).map_or(self.0.len(), |next| self.below(next))
    }
}

/// The first index of `low..high` for which `is_below` does not hold, when it holds for none after that.
#[inline]
pub(super) fn partition(mut low: usize, mut high: usize, is_below: impl Fn(usize) -> bool) -> usize {
    while low < high {
        let middle = low + (high - low) / 2;
        if is_below(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
