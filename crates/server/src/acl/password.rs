//! Passwords, which are only ever kept as their SHA-256.

use sha2::{Digest as _, Sha256};

/// The SHA-256 of a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    pub(crate) fn of(password: &[u8]) -> Digest {
        Digest(Sha256::digest(password).into())
    }

    /// Reads 64 hexadecimal digits in small letters.
    pub(crate) fn parse(hex: &[u8]) -> Option<Digest> {
        if hex.len() != 64 {
            return None;
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Digest(bytes))
    }

    pub(crate) fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Whether two digests are the same, in a time that does not depend on where they differ.
pub(crate) fn same(a: &Digest, b: &Digest) -> bool {
    let difference =
        a.0.iter()
            .zip(&b.0)
            .fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
    difference == 0
}
