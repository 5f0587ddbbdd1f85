//! Messages that came together, one after the other in one buffer that is used again.

/// A buffer that grew beyond this gives its memory back when it is cleared.
const KEPT_BYTES: usize = 1 << 20;

/// Messages that arrived together, in their order.
///
/// ```
/// use weald_cluster::Messages;
///
/// let mut messages = Messages::default();
/// messages.push(b"one");
/// messages.push(b"two");
/// assert!(messages.iter().eq([&b"one"[..], b"two"]));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Messages {
    /// Appends a message.
    pub fn push(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(message);
        self.ends.push(self.bytes.len());
    }

    /// The messages.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut start = 0;
        self.ends
            .iter()
            .map(move |&end| &self.bytes[std::mem::replace(&mut start, end)..end])
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets them, and keeps the memory for the next ones unless it is much.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_as_they_were_and_much_memory_is_given_back() {
        let mut messages = Messages::default();
        let long = vec![7; KEPT_BYTES + 1];
        for _ in 0..2 {
            assert!(messages.is_empty());
            for message in [&b"a"[..], b"", &long, b"bc"] {
                messages.push(message);
            }
            assert_eq!(messages.len(), 4);
            assert!(messages.iter().eq([&b"a"[..], b"", &long, b"bc"]));
            messages.clear();
            assert!(messages.bytes.capacity() <= KEPT_BYTES);
        }
    }
}
