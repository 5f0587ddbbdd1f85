//! Reading and writing bytes of which each meaning has one form.
//!
//! Numbers are LEB128, seven bits a byte and the least significant first, without a needless last byte;
//! signed ones are zigzag first (0, -1, 1, -2, …). Byte strings are a length and that many bytes.

use alloc::vec::Vec;

use crate::planted::{Check, left_out};

/// Bytes that break the rules, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Offset of what is wrong, from the start of what was decoded.
    pub at: usize,
    /// What is wrong there.
    pub what: Fault,
}

/// How bytes can break the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// They end too early.
    Truncated,
    /// They go on after the end.
    Trailing,
    /// A number is longer than it need be, or than its type.
    Number,
    /// No such version, token or tag.
    Unknown,
    /// A number is out of its bounds.
    Bounds,
    /// Keys are not in strictly ascending order.
    Order,
}

pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn fault(&self, at: usize, what: Fault) -> Malformed {
        Malformed { at, what }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..len).ok_or(self.fault(self.at, Fault::Truncated))?;
        self.at += len;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)
            .map(|bytes| bytes.try_into().expect("as many were taken"))
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }

    #[inline]
    pub(crate) fn u128(&mut self) -> Result<u128, Malformed> {
        // Most numbers of a proof have one byte.
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u128::from(byte))
            }
            _ => self.long_u128(),
        }
    }

    fn long_u128(&mut self) -> Result<u128, Malformed> {
        let start = self.at;
        let mut value = 0u128;
        for shift in (0..).step_by(7) {
            let byte = self.byte()?;
            let bits = u128::from(byte & 0x7f);
            let needless = byte == 0 && shift > 0 && !left_out(Check::Number);
            if needless || shift > 126 || (bits << shift) >> shift != bits {
                return Err(self.fault(start, Fault::Number));
            }
            value |= bits << shift;
            if byte < 0x80 {
                break;
            }
        }
        Ok(value)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        let start = self.at;
        u64::try_from(self.u128()?).map_err(|_| self.fault(start, Fault::Number))
    }

    pub(crate) fn i128(&mut self) -> Result<i128, Malformed> {
        let zigzag = self.u128()?;
        Ok((zigzag >> 1) as i128 ^ -((zigzag & 1) as i128))
    }

    /// A length, then as many bytes.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.at;
        let len = usize::try_from(self.u64()?).map_err(|_| self.fault(start, Fault::Truncated))?;
        self.take(len)
    }

    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.at < self.bytes.len() {
            return Err(self.fault(self.at, Fault::Trailing));
        }
        Ok(())
    }
}

pub(crate) fn put_u128(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_i128(out: &mut Vec<u8>, value: i128) {
    put_u128(out, ((value << 1) ^ (value >> 127)) as u128);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u128(out, bytes.len() as u128);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [
            0,
            1,
            -1,
            63,
            64,
            -64,
            -65,
            i128::from(i64::MAX),
            i128::MAX,
            i128::MIN,
        ] {
            let mut out = Vec::new();
            put_i128(&mut out, value);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.i128(), Ok(value));
            assert_eq!(reader.end(), Ok(()));
        }
    }

    #[test]
    fn a_number_has_one_form() {
        let number = |bytes: &[u8]| Reader::new(bytes).u128();
        assert_eq!(number(&[0x7f]), Ok(127));
        assert_eq!(
            number(&[0xff, 0x00]),
            Err(Malformed {
                at: 0,
                what: Fault::Number
            })
        );
        assert_eq!(
            number(&[0x80, 0x80, 0x00]),
            Err(Malformed {
                at: 0,
                what: Fault::Number
            })
        );
        assert_eq!(
            number(&[0xff; 18]),
            Err(Malformed {
                at: 18,
                what: Fault::Truncated
            })
        );
        assert_eq!(
            number(&[0xff; 40]),
            Err(Malformed {
                at: 0,
                what: Fault::Number
            })
        );
        let mut longest = [0xff; 19];
        longest[18] = 0x03;
        assert_eq!(number(&longest), Ok(u128::MAX));
        longest[18] = 0x04;
        assert_eq!(
            number(&longest),
            Err(Malformed {
                at: 0,
                what: Fault::Number
            })
        );
    }
}
