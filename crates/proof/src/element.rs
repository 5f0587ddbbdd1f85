//! What a key of a tree holds.

use alloc::vec::Vec;

use crate::codec::{self, Fault, Malformed, Reader};
use crate::hash::{HASH_LEN, Hash};

/// What a key of a tree holds. Its encoding is the value that the tree binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Element {
    /// Bytes.
    Item(Vec<u8>),
    /// A number that counts in the sum of its tree.
    SumItem(i64),
    /// A subtree, by its root hash.
    Tree(Hash),
    /// A subtree whose sum can be read here, and counts in the sum of the tree that holds it.
    SumTree {
        /// Its root hash.
        root: Hash,
        /// The sum of its elements.
        sum: i128,
    },
    /// A subtree whose number of entries can be read here.
    CountTree {
        /// Its root hash.
        root: Hash,
        /// How many keys it holds, not counting those of its own subtrees.
        count: u64,
    },
    /// Another element, found elsewhere.
    Reference(Reference),
}

/// Where a [`Element::Reference`] points. The last segment is the key, those before it the path of its tree;
/// there must be one at least, or what is encoded can't be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// From the outermost tree.
    Absolute(Vec<Vec<u8>>),
    /// From the tree that holds the reference, after `up` steps outwards: 0 with one segment is another key
    /// beside it.
    Relative {
        /// Steps outwards.
        up: u64,
        /// Steps inwards from there; the last is the key.
        down: Vec<Vec<u8>>,
    },
}

impl Reference {
    /// The path and key that a reference held in the tree at `path` leads to, or `None` if it leads out of
    /// the outermost tree or names no key.
    ///
    /// ```
    /// use weald_proof::Reference;
    ///
    /// let sibling = Reference::Relative { up: 0, down: vec![b"b".to_vec()] };
    /// let (path, key) = sibling.target(&[b"users".to_vec()]).unwrap();
    /// assert_eq!((path, key), (vec![b"users".to_vec()], b"b".to_vec()));
    /// ```
    #[must_use]
    pub fn target(&self, path: &[Vec<u8>]) -> Option<(Vec<Vec<u8>>, Vec<u8>)> {
        let mut target = match self {
            Reference::Absolute(segments) => segments.clone(),
            Reference::Relative { up, down } => {
                let kept = path.len().checked_sub(usize::try_from(*up).ok()?)?;
                path[..kept].iter().chain(down).cloned().collect()
            }
        };
        if self.segments().is_empty() {
            return None;
        }
        let key = target.pop()?;
        Some((target, key))
    }

    fn segments(&self) -> &[Vec<u8>] {
        match self {
            Reference::Absolute(segments) => segments,
            Reference::Relative { down, .. } => down,
        }
    }
}

const ITEM: u8 = 0;
const SUM_ITEM: u8 = 1;
const TREE: u8 = 2;
const SUM_TREE: u8 = 3;
const COUNT_TREE: u8 = 4;
const ABSOLUTE: u8 = 5;
const RELATIVE: u8 = 6;

impl Element {
    /// Its bytes: a tag, then the fields; an item's bytes come without a length, because nothing follows
    /// them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Element::Item(bytes) => {
                out.reserve_exact(1 + bytes.len());
                out.push(ITEM);
                out.extend_from_slice(bytes);
            }
            Element::SumItem(number) => {
                out.push(SUM_ITEM);
                codec::put_i128(&mut out, i128::from(*number));
            }
            Element::Tree(root) => {
                out.reserve_exact(1 + HASH_LEN);
                out.push(TREE);
                out.extend_from_slice(root.as_bytes());
            }
            Element::SumTree { root, sum } => {
                out.push(SUM_TREE);
                out.extend_from_slice(root.as_bytes());
                codec::put_i128(&mut out, *sum);
            }
            Element::CountTree { root, count } => {
                out.push(COUNT_TREE);
                out.extend_from_slice(root.as_bytes());
                codec::put_u128(&mut out, u128::from(*count));
            }
            Element::Reference(reference) => {
                match reference {
                    Reference::Absolute(_) => out.push(ABSOLUTE),
                    Reference::Relative { up, .. } => {
                        out.push(RELATIVE);
                        codec::put_u128(&mut out, u128::from(*up));
                    }
                }
                for segment in reference.segments() {
                    codec::put_bytes(&mut out, segment);
                }
            }
        }
        out
    }

    /// Reads what [`encode`](Element::encode) wrote, and nothing else: no two byte strings give the same
    /// element.
    pub fn decode(bytes: &[u8]) -> Result<Element, Malformed> {
        let mut reader = Reader::new(bytes);
        let element = match reader.byte()? {
            ITEM => Element::Item(reader.rest().to_vec()),
            SUM_ITEM => {
                let at = reader.at();
                let number = i64::try_from(reader.i128()?);
                Element::SumItem(number.map_err(|_| reader.fault(at, Fault::Bounds))?)
            }
            TREE => Element::Tree(Hash(reader.array()?)),
            SUM_TREE => Element::SumTree {
                root: Hash(reader.array()?),
                sum: reader.i128()?,
            },
            COUNT_TREE => Element::CountTree {
                root: Hash(reader.array()?),
                count: reader.u64()?,
            },
            ABSOLUTE => Element::Reference(Reference::Absolute(segments(&mut reader)?)),
            RELATIVE => Element::Reference(Reference::Relative {
                up: reader.u64()?,
                down: segments(&mut reader)?,
            }),
            _ => return Err(reader.fault(0, Fault::Unknown)),
        };
        reader.end()?;
        Ok(element)
    }

    /// Whether those bytes are the encoding of an item, which all bytes after its tag are: for storage that need not take them apart then.
    #[must_use]
    pub fn is_item(bytes: &[u8]) -> bool {
        bytes.first() == Some(&ITEM)
    }

    /// The [`sum`](Element::sum) of an encoded element, which is read no further than that takes: without an
    /// allocation, so that bytes of unknown origin can be hashed before they are decoded.
    pub(crate) fn sum_of(bytes: &[u8]) -> Result<i128, Malformed> {
        let mut reader = Reader::new(bytes);
        let sum = match reader.byte()? {
            SUM_ITEM => reader.i128()?,
            SUM_TREE => {
                reader.take(HASH_LEN)?;
                reader.i128()?
            }
            ITEM | TREE | COUNT_TREE | ABSOLUTE | RELATIVE => return Ok(0),
            _ => return Err(reader.fault(0, Fault::Unknown)),
        };
        reader.end()?;
        Ok(sum)
    }

    /// What it adds to the sum of its tree.
    #[must_use]
    pub fn sum(&self) -> i128 {
        match self {
            Element::SumItem(number) => i128::from(*number),
            Element::SumTree { sum, .. } => *sum,
            _ => 0,
        }
    }

    /// The root hash of the subtree that it is, if it is one.
    #[must_use]
    pub fn subtree(&self) -> Option<&Hash> {
        match self {
            Element::Tree(root) | Element::SumTree { root, .. } | Element::CountTree { root, .. } => {
                Some(root)
            }
            _ => None,
        }
    }

    /// Whether what it says of its subtree is so.
    pub(crate) fn agrees(&self, subtree_count: u64, subtree_sum: i128) -> bool {
        match self {
            Element::SumTree { sum, .. } => *sum == subtree_sum,
            Element::CountTree { count, .. } => *count == subtree_count,
            _ => true,
        }
    }
}

/// Path segments up to the end; at least one.
fn segments(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut segments = Vec::new();
    loop {
        segments.push(reader.bytes()?.to_vec());
        if reader.end().is_ok() {
            return Ok(segments);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn elements_come_back_and_have_one_form() {
        let hash = Hash([7; 32]);
        let elements = [
            (Element::Item(vec![]), 1),
            (Element::Item(vec![1, 2]), 3),
            (Element::SumItem(-3), 2),
            (Element::SumItem(i64::MIN), 11),
            (Element::Tree(hash), 33),
            (
                Element::SumTree {
                    root: hash,
                    sum: 1 << 70,
                },
                44,
            ),
            (
                Element::CountTree {
                    root: hash,
                    count: 300,
                },
                35,
            ),
            (Element::Reference(Reference::Absolute(vec![vec![1], vec![]])), 4),
            (
                Element::Reference(Reference::Relative {
                    up: 2,
                    down: vec![vec![9]],
                }),
                4,
            ),
        ];
        for (element, len) in elements {
            let bytes = element.encode();
            assert_eq!(bytes.len(), len, "{element:?}");
            assert_eq!(Element::decode(&bytes), Ok(element.clone()));
            assert_eq!(Element::sum_of(&bytes), Ok(element.sum()));
            if !matches!(element, Element::Item(_)) {
                let longer = [&bytes[..], &[0]].concat();
                assert_ne!(Element::decode(&longer), Ok(element.clone()));
                assert_ne!(Element::decode(&bytes[..len - 1]), Ok(element.clone()));
            }
        }
        assert_eq!(
            Element::decode(&[9]),
            Err(Malformed {
                at: 0,
                what: Fault::Unknown
            })
        );
        assert_eq!(
            Element::decode(&[]),
            Err(Malformed {
                at: 0,
                what: Fault::Truncated
            })
        );
        assert_eq!(
            Element::decode(&[ABSOLUTE]),
            Err(Malformed {
                at: 1,
                what: Fault::Truncated
            })
        );
    }

    #[test]
    fn references_lead_to_a_key_or_nowhere() {
        let path = [b"a".to_vec(), b"b".to_vec()];
        let relative = |up, down: &[&str]| Reference::Relative {
            up,
            down: down.iter().map(|s| s.as_bytes().to_vec()).collect(),
        };
        let cousin = Some((vec![b"a".to_vec(), b"c".to_vec()], b"k".to_vec()));
        assert_eq!(relative(1, &["c", "k"]).target(&path), cousin);
        assert_eq!(relative(2, &["k"]).target(&path), Some((vec![], b"k".to_vec())));
        assert_eq!(relative(3, &["k"]).target(&path), None);
        assert_eq!(relative(1, &[]).target(&path), None);
        assert_eq!(Reference::Absolute(vec![]).target(&path), None);
    }
}
