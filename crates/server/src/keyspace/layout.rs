//! How the records of a database are named.
//!
//! ```text
//! keys     hash64(key) ‖ key                          -> record: see `record`
//! items    id ‖ 'd' ‖ hash64(member) ‖ member         -> value of a field; score of a member; nothing for a set's
//!          id ‖ 's' ‖ score ‖ member                  -> nothing: the order of a sorted set
//!          id ‖ 'a' or 'b' ‖ score ‖ member           -> counts: see `ranks`
//!          id ‖ 'l' ‖ index                           -> an element of a list
//! expiry   time ‖ hash64(key) ‖ key                   -> nothing
//! garbage  id                                         -> nothing
//! ```
//!
//! Numbers are big-endian, so that they sort. A name of more than [`NAME_MAX`] bytes stands there as its beginning and a digest, and the whole of it in
//! the value.

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The key of a record.
pub(super) type RawKey = SmallVec<[u8; 96]>;

/// The longest key or member that stands whole in the key of its record.
pub(super) const NAME_MAX: usize = 512;

/// What kind of item of a collection a record is.
pub(super) mod tag {
    pub(in crate::keyspace) const MEMBER: u8 = b'd';
    pub(in crate::keyspace) const ORDER: u8 = b's';
    pub(in crate::keyspace) const BLOCKS: u8 = b'a';
    pub(in crate::keyspace) const GROUPS: u8 = b'b';
    pub(in crate::keyspace) const INDEX: u8 = b'l';
}

/// Bytes of the hash before a name.
pub(super) const HASH_LEN: usize = 8;
/// Bytes of an id and a tag.
pub(super) const PREFIX_LEN: usize = 9;

pub(super) fn hash(name: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(name, seed)
}

/// Whether a name is too long to stand whole in a key.
pub(super) fn is_long(name: &[u8]) -> bool {
    name.len() > NAME_MAX
}

/// Adds a name, or what stands for it.
pub(super) fn push_name(out: &mut RawKey, name: &[u8]) {
    if is_long(name) {
        out.extend_from_slice(&name[..NAME_MAX]);
        out.extend_from_slice(blake3::hash(name).as_bytes());
    } else {
        out.extend_from_slice(name);
    }
}

/// The key of a key's record.
pub(super) fn key(name: &[u8], seed: u64) -> RawKey {
    let mut out = RawKey::new();
    out.extend_from_slice(&hash(name, seed).to_be_bytes());
    push_name(&mut out, name);
    out
}

/// What the items of a collection of one kind begin with.
pub(super) fn prefix(id: u64, tag: u8) -> RawKey {
    let mut out = RawKey::new();
    out.extend_from_slice(&id.to_be_bytes());
    out.push(tag);
    out
}

/// The key of a member of a hash, set or sorted set.
pub(super) fn member(id: u64, name: &[u8], seed: u64) -> RawKey {
    let mut out = prefix(id, tag::MEMBER);
    out.extend_from_slice(&hash(name, seed).to_be_bytes());
    push_name(&mut out, name);
    out
}

/// The key of an element of a list.
pub(super) fn index(id: u64, index: i64) -> RawKey {
    let mut out = prefix(id, tag::INDEX);
    out.extend_from_slice(&((index as u64) ^ 1 << 63).to_be_bytes());
    out
}

/// A score as bytes that sort as scores do. Both zeros are one.
pub(super) fn sortable(score: f64) -> u64 {
    let bits = if score == 0.0 { 0 } else { score.to_bits() };
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The score of such bytes.
pub(super) fn unsortable(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
}

/// The value of a member's record: `value`, after the whole name where the key has only a part of it.
pub(super) fn member_value(name: &[u8], value: &[u8]) -> SmallVec<[u8; 64]> {
    let mut out = SmallVec::new();
    if is_long(name) {
        out.extend_from_slice(&(name.len() as u32).to_le_bytes());
        out.extend_from_slice(name);
    }
    out.extend_from_slice(value);
    out
}

/// The name and the value of a record whose key is `key` after the hash; nothing for bytes that are no such record.
pub(super) fn split_member<'a>(key: &'a [u8], value: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    if key.len() <= NAME_MAX {
        return Some((key, value));
    }
    let (len, rest) = value.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}

/// The number that a key has at a place.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_sort_as_bytes() {
        let scores = [
            f64::NEG_INFINITY,
            -1e300,
            -2.5,
            -1.0,
            -1e-300,
            0.0,
            1e-300,
            1.0,
            2.5,
            f64::INFINITY,
        ];
        for pair in scores.windows(2) {
            assert!(sortable(pair[0]) < sortable(pair[1]), "{pair:?}");
        }
        for score in scores {
            assert_eq!(unsortable(sortable(score)), score);
        }
        assert_eq!(sortable(-0.0), sortable(0.0));
    }

    #[test]
    fn long_names_are_whole_in_the_value() {
        let name = vec![7; NAME_MAX + 1];
        let key = member(1, &name, 2);
        let value = member_value(&name, b"v");
        assert_eq!(
            split_member(&key[PREFIX_LEN + HASH_LEN..], &value),
            Some((&name[..], &b"v"[..]))
        );
        assert_eq!(split_member(&key[PREFIX_LEN + HASH_LEN..], &value[..9]), None);
        let short = member(1, b"m", 2);
        assert_eq!(
            split_member(&short[PREFIX_LEN + HASH_LEN..], b"v"),
            Some((&b"m"[..], &b"v"[..]))
        );
    }
}
