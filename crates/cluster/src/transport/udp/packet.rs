//! Datagrams: what stands in front, and which of them came before.
//!
//! ```text
//!  1 Hello     1 | initiator 8 | first message of the handshake      as long as its answer: nothing is amplified
//!  2 Answer    2 | initiator 8 | responder 8 | second message
//!  3 Confirm   3 | responder 8 | third message
//!  4 Data      4 | responder 8 | number 8 | cipher( flags 1, chunks )
//!  5 Receipt   5 | initiator 8 | number 8 | cipher( greatest number that came 8 )
//! ```
//!
//! The eight bytes name a session at the side that gets the datagram. Numbers are little-endian and part of the cipher.

/// Bytes before the ciphertext of data.
pub(super) const HEADER: usize = 17;
/// The cipher's tag.
pub(super) const TAG: usize = 16;
/// Asks for a receipt.
pub(super) const ASKS: u8 = 1;
/// What pads the first message, so that it is as long as the second.
pub(super) const PADDING: usize = 152;

/// A datagram, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'b> {
    Hello {
        initiator: u64,
        message: &'b [u8],
    },
    Answer {
        initiator: u64,
        responder: u64,
        message: &'b [u8],
    },
    Confirm {
        responder: u64,
        message: &'b [u8],
    },
    Data {
        responder: u64,
        number: u64,
        sealed: &'b [u8],
    },
    Receipt {
        initiator: u64,
        number: u64,
        sealed: &'b [u8],
    },
}

impl<'b> Packet<'b> {
    pub(super) fn parse(bytes: &'b [u8]) -> Option<Packet<'b>> {
        let (&kind, rest) = bytes.split_first()?;
        let number = |bytes: &'b [u8]| {
            let (number, rest) = bytes.split_first_chunk()?;
            Some((u64::from_le_bytes(*number), rest))
        };
        let (first, message) = number(rest)?;
        Some(match kind {
            1 => Packet::Hello {
                initiator: first,
                message,
            },
            2 => {
                let (responder, message) = number(message)?;
                Packet::Answer {
                    initiator: first,
                    responder,
                    message,
                }
            }
            3 => Packet::Confirm {
                responder: first,
                message,
            },
            4 => {
                let (number, sealed) = number(message)?;
                Packet::Data {
                    responder: first,
                    number,
                    sealed,
                }
            }
            5 => {
                let (number, sealed) = number(message)?;
                Packet::Receipt {
                    initiator: first,
                    number,
                    sealed,
                }
            }
            _ => return None,
        })
    }
}

pub(super) fn hello(initiator: u64, message: &[u8]) -> Vec<u8> {
    [&[1][..], &initiator.to_le_bytes(), message].concat()
}

pub(super) fn answer(initiator: u64, responder: u64, message: &[u8]) -> Vec<u8> {
    [
        &[2][..],
        &initiator.to_le_bytes(),
        &responder.to_le_bytes(),
        message,
    ]
    .concat()
}

pub(super) fn confirm(responder: u64, message: &[u8]) -> Vec<u8> {
    [&[3][..], &responder.to_le_bytes(), message].concat()
}

/// The start of data or of a receipt.
pub(super) fn header(receipt: bool, to: u64, number: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[0] = if receipt { 5 } else { 4 };
    header[1..9].copy_from_slice(&to.to_le_bytes());
    header[9..].copy_from_slice(&number.to_le_bytes());
    header
}

/// Which numbers have come: the greatest, and those of the last many. What is older counts as having come.
#[derive(Debug)]
pub(super) struct Seen {
    /// One more than the greatest; 0 before the first.
    next: u64,
    bits: [u64; WORDS],
}

const WORDS: usize = 16;
const SPAN: u64 = 64 * WORDS as u64;

impl Seen {
    pub(super) fn new() -> Seen {
        Seen {
            next: 0,
            bits: [0; WORDS],
        }
    }

    pub(super) fn greatest(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    pub(super) fn has(&self, number: u64) -> bool {
        if number >= self.next {
            return false;
        }
        self.next - number > SPAN || self.bits[place(number)] & bit(number) != 0
    }

    /// Notes a number that is genuine and has not come before.
    pub(super) fn add(&mut self, number: u64) {
        if number >= self.next {
            // What is passed over has not come yet.
            let first = self.next.max(number.saturating_sub(SPAN - 1));
            for passed in first..=number {
                self.bits[place(passed)] &= !bit(passed);
            }
            self.next = number.saturating_add(1);
        }
        self.bits[place(number)] |= bit(number);
    }
}

fn place(number: u64) -> usize {
    (number / 64 % WORDS as u64) as usize
}

fn bit(number: u64) -> u64 {
    1 << (number % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_number_comes_once() {
        let mut seen = Seen::new();
        let mut model = BTreeSet::new();
        let mut random = weald_cluster_proto::Random::new(3);
        let mut front = 0;
        for _ in 0..20_000 {
            front += random.below(30);
            let number = front.saturating_sub(random.below(1500));
            let old = model
                .last()
                .is_some_and(|&last: &u64| last >= number && last + 1 - number > SPAN);
            assert_eq!(
                seen.has(number),
                old || model.contains(&number),
                "{number} of {front}"
            );
            if !seen.has(number) {
                seen.add(number);
                model.insert(number);
            }
            assert_eq!(seen.greatest(), model.last().copied());
        }
    }

    #[test]
    fn a_leap_forgets_what_it_passes() {
        let mut seen = Seen::new();
        seen.add(5);
        seen.add(100_000);
        assert!(seen.has(5), "too old");
        assert!(!seen.has(99_999));
        assert!(!seen.has(100_001));
        seen.add(u64::MAX - 1);
        assert!(!seen.has(u64::MAX - 2));
    }

    #[test]
    fn datagrams_are_what_was_sent() {
        let parsed = |bytes: &[u8]| format!("{:?}", Packet::parse(bytes));
        assert_eq!(
            parsed(&hello(7, b"m")),
            "Some(Hello { initiator: 7, message: [109] })"
        );
        assert_eq!(
            parsed(&answer(7, 8, b"m")),
            "Some(Answer { initiator: 7, responder: 8, message: [109] })"
        );
        assert_eq!(
            parsed(&confirm(8, b"m")),
            "Some(Confirm { responder: 8, message: [109] })"
        );
        let data = [&header(false, 8, 9)[..], b"m"].concat();
        assert_eq!(
            parsed(&data),
            "Some(Data { responder: 8, number: 9, sealed: [109] })"
        );
        for short in [&b""[..], &[1; 8], &[2; 16], &[4; 16], &[5; 16], &[6; 40]] {
            assert_eq!(Packet::parse(short), None);
        }
    }
}
