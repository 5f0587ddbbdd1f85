//! How values are read. A length is believed only as far as there are bytes for it.

use std::collections::HashSet;

use crate::commands::args::parse_float;
use crate::commands::dump::packed::{intset, listpack, ziplist};
use crate::commands::dump::{Value, lzf};

pub(super) const STRING: u8 = 0;
pub(super) const LIST: u8 = 1;
pub(super) const SET: u8 = 2;
const ZSET: u8 = 3;
pub(super) const HASH: u8 = 4;
pub(super) const ZSET_2: u8 = 5;
const LIST_ZIPLIST: u8 = 10;
const SET_INTSET: u8 = 11;
const ZSET_ZIPLIST: u8 = 12;
const HASH_ZIPLIST: u8 = 13;
const LIST_QUICKLIST: u8 = 14;
const HASH_LISTPACK: u8 = 16;
const ZSET_LISTPACK: u8 = 17;
const LIST_QUICKLIST_2: u8 = 18;
const SET_LISTPACK: u8 = 20;

/// The value of a whole payload; nothing where it is damaged or has nothing in it.
pub(super) fn value(payload: &[u8]) -> Option<Value> {
    let (kind, rest) = payload.split_first()?;
    let mut reader = Reader(rest);
    let value = reader.value(*kind)?;
    let empty = match &value {
        Value::String(_) => false,
        Value::List(elements) | Value::Set(elements) => elements.is_empty() || repeats(&value),
        Value::Hash(fields) => fields.is_empty() || repeats(&value),
        Value::ZSet(members) => members.is_empty() || repeats(&value),
    };
    (reader.0.is_empty() && !empty).then_some(value)
}

/// Whether a member comes twice where none may.
fn repeats(value: &Value) -> bool {
    let mut seen = HashSet::new();
    match value {
        Value::String(_) | Value::List(_) => false,
        Value::Set(members) => !members.iter().all(|member| seen.insert(member)),
        Value::Hash(fields) => !fields.iter().all(|(field, _)| seen.insert(field)),
        Value::ZSet(members) => !members.iter().all(|(member, _)| seen.insert(member)),
    }
}

struct Reader<'a>(&'a [u8]);

/// A length, or what stands in its place.
enum Len {
    Len(u64),
    Special(u8),
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn any_len(&mut self) -> Option<Len> {
        let [first] = self.array()?;
        Some(match first >> 6 {
            0 => Len::Len(u64::from(first)),
            1 => {
                let [low] = self.array()?;
                Len::Len(u64::from(first & 0x3f) << 8 | u64::from(low))
            }
            2 if first == 0x80 => Len::Len(u64::from(u32::from_be_bytes(self.array()?))),
            2 if first == 0x81 => Len::Len(u64::from_be_bytes(self.array()?)),
            3 => Len::Special(first & 0x3f),
            _ => return None,
        })
    }

    fn len(&mut self) -> Option<u64> {
        match self.any_len()? {
            Len::Len(len) => Some(len),
            Len::Special(_) => None,
        }
    }

    fn string(&mut self) -> Option<Vec<u8>> {
        let number = match self.any_len()? {
            Len::Len(len) => return self.take(len).map(<[u8]>::to_vec),
            Len::Special(0) => i64::from(i8::from_le_bytes(self.array()?)),
            Len::Special(1) => i64::from(i16::from_le_bytes(self.array()?)),
            Len::Special(2) => i64::from(i32::from_le_bytes(self.array()?)),
            Len::Special(3) => {
                let (packed, len) = (self.len()?, self.len()?);
                return lzf::expand(self.take(packed)?, usize::try_from(len).ok()?);
            }
            Len::Special(_) => return None,
        };
        Some(number.to_string().into_bytes())
    }

    fn strings(&mut self) -> Option<Vec<Vec<u8>>> {
        let len = self.len()?;
        (0..len).map(|_| self.string()).collect()
    }

    /// A score as Redis wrote it first: its digits after their number, or a number that stands for none or an infinity.
    fn old_score(&mut self) -> Option<f64> {
        let [len] = self.array()?;
        match len {
            253 => None,
            254 => Some(f64::INFINITY),
            255 => Some(f64::NEG_INFINITY),
            len => parse_float(self.take(u64::from(len))?),
        }
    }

    fn score(&mut self) -> Option<f64> {
        Some(f64::from_le_bytes(self.array()?)).filter(|score| !score.is_nan())
    }

    fn value(&mut self, kind: u8) -> Option<Value> {
        Some(match kind {
            STRING => Value::String(self.string()?),
            LIST => Value::List(self.strings()?),
            SET => Value::Set(self.strings()?),
            HASH => {
                let len = self.len()?;
                Value::Hash(
                    (0..len)
                        .map(|_| Some((self.string()?, self.string()?)))
                        .collect::<Option<_>>()?,
                )
            }
            ZSET => {
                let len = self.len()?;
                Value::ZSet(
                    (0..len)
                        .map(|_| Some((self.string()?, self.old_score()?)))
                        .collect::<Option<_>>()?,
                )
            }
            ZSET_2 => {
                let len = self.len()?;
                Value::ZSet(
                    (0..len)
                        .map(|_| Some((self.string()?, self.score()?)))
                        .collect::<Option<_>>()?,
                )
            }
            LIST_ZIPLIST => Value::List(ziplist(&self.string()?)?),
            SET_INTSET => Value::Set(intset(&self.string()?)?),
            SET_LISTPACK => Value::Set(listpack(&self.string()?)?),
            ZSET_ZIPLIST => Value::ZSet(scored(ziplist(&self.string()?)?)?),
            ZSET_LISTPACK => Value::ZSet(scored(listpack(&self.string()?)?)?),
            HASH_ZIPLIST => Value::Hash(pairs(ziplist(&self.string()?)?)?),
            HASH_LISTPACK => Value::Hash(pairs(listpack(&self.string()?)?)?),
            LIST_QUICKLIST => {
                let mut elements = Vec::new();
                for _ in 0..self.len()? {
                    elements.extend(ziplist(&self.string()?)?);
                }
                Value::List(elements)
            }
            LIST_QUICKLIST_2 => self.quicklist()?,
            _ => return None,
        })
    }

    /// Nodes that are a single large element (1) or a listpack (2).
    fn quicklist(&mut self) -> Option<Value> {
        let mut elements = Vec::new();
        for _ in 0..self.len()? {
            match self.len()? {
                1 => elements.push(self.string()?),
                2 => elements.extend(listpack(&self.string()?)?),
                _ => return None,
            }
        }
        Some(Value::List(elements))
    }
}

fn pairs(elements: Vec<Vec<u8>>) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut out = Vec::with_capacity(elements.len() / 2);
    let mut elements = elements.into_iter();
    while let Some(first) = elements.next() {
        out.push((first, elements.next()?));
    }
    Some(out)
}

fn scored(elements: Vec<Vec<u8>>) -> Option<Vec<(Vec<u8>, f64)>> {
    let pairs = pairs(elements)?;
    pairs
        .into_iter()
        .map(|(member, score)| Some((member, parse_float(&score)?)))
        .collect()
}
