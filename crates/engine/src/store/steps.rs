//! How arrays grow whose items never move: in chunks, of which the first double in size, so that a small database has a small array, and a large one
//! few chunks to keep track of.

/// The sizes of the chunks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    /// The first chunk has `1 << first` items.
    pub(super) first: u32,
    /// Each of this many chunks has twice the items of the one before; so has one more, and all after that are as large.
    pub(super) doublings: u32,
}

impl Steps {
    /// In which chunk an item is, and where in it.
    #[inline]
    pub(super) fn place(self, item: u64) -> (usize, usize) {
        let doubling = ((item >> self.first) + 1).ilog2().min(self.doublings);
        // Items from the beginning of the chunks of this size.
        let within = item - (((1 << doubling) - 1) << self.first);
        let size = self.first + doubling;
        let chunk = u64::from(doubling) + (within >> size);
        (chunk as usize, (within & ((1 << size) - 1)) as usize)
    }

    /// How many items a chunk has.
    pub(super) fn len(self, chunk: usize) -> usize {
        1 << (self.first + (chunk as u32).min(self.doublings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_has_the_place_behind_the_one_before() {
        for (first, doublings) in [(0, 0), (2, 0), (0, 3), (4, 5), (3, 1)] {
            let steps = Steps { first, doublings };
            let mut next = (0, 0);
            for item in 0..5000 {
                assert_eq!(steps.place(item), next, "{item} of {steps:?}");
                next.1 += 1;
                if next.1 == steps.len(next.0) {
                    next = (next.0 + 1, 0);
                }
            }
        }
    }

    #[test]
    fn the_greatest_number_has_a_place() {
        let steps = Steps {
            first: 18,
            doublings: 6,
        };
        let (chunk, index) = steps.place(u64::MAX);
        assert!(chunk > 1 << 20 && index < steps.len(chunk));
    }
}
