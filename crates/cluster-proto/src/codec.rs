//! Bytes of messages and of stored state: fixed-width little-endian numbers, lengths before what they count.
//!
//! Each value has one encoding and no other is accepted, so what was decoded encodes to the same bytes. No length is believed: memory is
//! taken as bytes are there to fill it.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

/// Why bytes are not what they should be. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// They end too early.
    #[error("the bytes end too early")]
    Short,
    /// Something follows the end.
    #[error("there are bytes after the end")]
    Trailing,
    /// A tag, a flag or a bound that no encoder writes.
    #[error("{0} is not valid")]
    Invalid(&'static str),
    /// It is of another format, or of a version that this build doesn't know.
    #[error("the format or its version is unknown")]
    Version,
}

/// Where encoded bytes go.
pub type Writer = Vec<u8>;

/// Bytes that are being decoded.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the beginning of these bytes.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(*head)
    }

    fn len(&mut self) -> Result<usize, DecodeError> {
        let len = u32::take(self)? as usize;
        // Every element takes a byte or more.
        if len > self.rest.len() {
            return Err(DecodeError::Short);
        }
        Ok(len)
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Says whether all bytes were used.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing)
        }
    }
}

/// What can be written to bytes and read back.
pub trait Wire: Sized {
    /// Appends the encoding.
    fn put(&self, out: &mut Writer);
    /// Reads one value.
    fn take(from: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// The encoding on its own.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.put(&mut out);
        out
    }

    /// Reads a value that takes up all of the bytes.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = Self::take(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }
}

macro_rules! wire_int {
    ($($int:ty),*) => {$(
        impl Wire for $int {
            fn put(&self, out: &mut Writer) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(<$int>::from_le_bytes(from.array()?))
            }
        }
    )*};
}

wire_int!(u8, u16, u32, u64, u128);

impl Wire for bool {
    fn put(&self, out: &mut Writer) {
        out.push(u8::from(*self));
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::take(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Invalid("a flag")),
        }
    }
}

/// Keys and values: shared, so that a write to three replicas copies a pointer three times.
pub type Bytes = Arc<[u8]>;

impl Wire for Bytes {
    fn put(&self, out: &mut Writer) {
        put_len(self.len(), out);
        out.extend_from_slice(self);
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = from.len()?;
        Ok(from.bytes(len)?.into())
    }
}

fn put_len(len: usize, out: &mut Writer) {
    u32::try_from(len)
        .expect("limits keep everything far below 4 GiB")
        .put(out);
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Writer) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(if bool::take(from)? {
            Some(T::take(from)?)
        } else {
            None
        })
    }
}

impl<T: Wire> Wire for Box<T> {
    fn put(&self, out: &mut Writer) {
        (**self).put(out);
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Box::new(T::take(from)?))
    }
}

/// Room that a list's length gets before its items are there.
const AHEAD_MAX: usize = 16;

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Writer) {
        put_len(self.len(), out);
        for item in self {
            item.put(out);
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = from.len()?;
        let mut items = Vec::with_capacity(len.min(AHEAD_MAX));
        for _ in 0..len {
            items.push(T::take(from)?);
        }
        Ok(items)
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Writer) {
        self.0.put(out);
        self.1.put(out);
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok((A::take(from)?, B::take(from)?))
    }
}

impl<K: Wire + Ord, V: Wire> Wire for BTreeMap<K, V> {
    fn put(&self, out: &mut Writer) {
        put_len(self.len(), out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = from.len()?;
        let mut map = BTreeMap::new();
        for _ in 0..len {
            let key = K::take(from)?;
            if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(DecodeError::Invalid("the order of a map"));
            }
            map.insert(key, V::take(from)?);
        }
        Ok(map)
    }
}

/// Fields one after the other.
macro_rules! wire_struct {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::codec::Wire for $name {
            fn put(&self, out: &mut $crate::codec::Writer) {
                $($crate::codec::Wire::put(&self.$field, out);)*
            }
            fn take(from: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::DecodeError> {
                Ok($name { $($field: $crate::codec::Wire::take(from)?),* })
            }
        }
    };
}

/// A tag of one byte, then the fields of that variant.
macro_rules! wire_enum {
    ($name:ident { $($tag:literal => $variant:ident $({ $($field:ident),* $(,)? })?),* $(,)? }) => {
        impl $crate::codec::Wire for $name {
            fn put(&self, out: &mut $crate::codec::Writer) {
                match self {
                    $($name::$variant $({ $($field),* })? => {
                        out.push($tag);
                        $($($crate::codec::Wire::put($field, out);)*)?
                    })*
                }
            }
            fn take(from: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::DecodeError> {
                Ok(match u8::take(from)? {
                    $($tag => $name::$variant $({ $($field: $crate::codec::Wire::take(from)?),* })?,)*
                    _ => return Err($crate::codec::DecodeError::Invalid(concat!("a tag of ", stringify!($name)))),
                })
            }
        }
    };
}

pub(crate) use {wire_enum, wire_struct};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_comes_back() {
        let value: (Option<u64>, Vec<(u16, bool)>) = (Some(7), vec![(1, true), (2, false)]);
        let bytes = value.to_bytes();
        assert_eq!(<(Option<u64>, Vec<(u16, bool)>)>::from_bytes(&bytes), Ok(value));
        for cut in 0..bytes.len() {
            assert!(<(Option<u64>, Vec<(u16, bool)>)>::from_bytes(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn a_length_is_not_believed() {
        assert_eq!(
            Vec::<u64>::from_bytes(&u32::MAX.to_le_bytes()),
            Err(DecodeError::Short)
        );
    }

    #[test]
    fn there_is_one_encoding_only() {
        assert!(bool::from_bytes(&[2]).is_err());
        assert_eq!(u8::from_bytes(&[1, 2]), Err(DecodeError::Trailing));
        let map = [2, 0, 0, 0, 5, 0, 4, 0];
        assert!(BTreeMap::<u8, u8>::from_bytes(&map).is_err());
    }
}
