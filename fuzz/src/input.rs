//! Bytes of an input, taken from its front.

/// What is left of an input; zeros once it is used up.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub(crate) fn short(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Changes `target` as the input says, in one place.
    pub(crate) fn patch(&mut self, target: &mut Vec<u8>) {
        let at = self.short() % (target.len() + 1);
        let len = usize::from(self.byte() % 16);
        match self.byte() % 6 {
            0 => drop(target.splice(at..at, self.take(len).iter().copied())),
            1 => drop(target.drain(at..(at + len).min(target.len()))),
            2 => target.truncate(at),
            3 => {
                let to = self.short() % (target.len() + 1);
                let end = (at + len).min(target.len());
                let moved: Vec<u8> = target[at..end].to_vec();
                drop(target.splice(to..to, moved));
            }
            4 => {
                let bytes = self.take(len);
                target[at..]
                    .iter_mut()
                    .zip(bytes)
                    .for_each(|(old, new)| *old = *new);
            }
            _ => {
                let bit = 1 << (self.byte() % 8);
                target[at..].iter_mut().take(1).for_each(|byte| *byte ^= bit);
            }
        }
    }
}
