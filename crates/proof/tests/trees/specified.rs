//! The specification once more, in the plainest way: written after `docs/tree.md`, with nothing of the crate, so that
//! document and code check each other. Whoever calls it encodes the elements by hand.

/// What a key holds: the encoded element, and what it adds to the sum.
pub(crate) struct Held {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) sum: i128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) hash: [u8; 32],
    pub(crate) count: u64,
    pub(crate) sum: i128,
}

/// An entry of a level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    pub(crate) height: u8,
    pub(crate) node: Node,
    /// Whether a page begins with it.
    pub(crate) begins: bool,
}

/// A page has at most so many entries.
const PAGE_MAX: usize = 64;

/// BLAKE3 under a name that is padded with spaces.
pub(crate) fn named(name: &str, message: &[u8]) -> [u8; 32] {
    let mut key = [b' '; 32];
    key[..name.len()].copy_from_slice(name.as_bytes());
    *blake3::keyed_hash(&key, message).as_bytes()
}

pub(crate) fn prefix(path: &[(&[u8], u64)]) -> [u8; 32] {
    let mut message = Vec::new();
    for (segment, generation) in path {
        message.extend((segment.len() as u64).to_le_bytes());
        message.extend(*segment);
        message.extend(generation.to_le_bytes());
    }
    named("weald tree 1: prefix of a path", &message)
}

pub(crate) fn height(key: &[u8]) -> u8 {
    let hash = named("weald tree 1: height of a key", key);
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let zeros = digits.chars().take_while(|digit| *digit == '0').count();
    zeros.min(8) as u8
}

pub(crate) fn value_hash(value: &[u8]) -> [u8; 32] {
    named("weald tree 1: value of a leaf", value)
}

pub(crate) fn leaf(held: &Held) -> Node {
    let message = [&value_hash(&held.value)[..], &held.key].concat();
    Node {
        hash: named("weald tree 1: leaf", &message),
        count: 1,
        sum: held.sum,
    }
}

pub(crate) fn join(level: u8, left: Node, right: Node) -> Node {
    let mut key = b"weald/1".to_vec();
    key.push(level);
    key.extend(left.count.to_le_bytes());
    key.extend(left.sum.to_le_bytes());
    let key: [u8; 32] = key.try_into().unwrap();
    let message = [left.hash, right.hash].concat();
    Node {
        hash: *blake3::keyed_hash(&key, &message).as_bytes(),
        count: left.count + right.count,
        sum: left.sum + right.sum,
    }
}

pub(crate) fn root(top: Option<Node>) -> [u8; 32] {
    let message = match top {
        Some(top) => [&top.hash[..], &top.count.to_le_bytes(), &top.sum.to_le_bytes()].concat(),
        None => vec![0; 56],
    };
    named("weald tree 1: root of a tree", &message)
}

/// The levels of a tree, from the leaves up to the one that has one page; none if it is empty.
pub(crate) fn levels(held: &[Held]) -> Vec<Vec<Entry>> {
    let mut levels: Vec<Vec<Entry>> = Vec::new();
    let mut entries: Vec<Entry> = held
        .iter()
        .map(|held| entry(held.key.clone(), leaf(held)))
        .collect();
    while !entries.is_empty() {
        let level = levels.len() as u8;
        for begins in page_starts(level, &entries) {
            entries[begins].begins = true;
        }
        let above: Vec<Entry> = pages(&entries)
            .map(|page| entry(page[0].key.clone(), page_node(level, page)))
            .collect();
        levels.push(entries);
        entries = if above.len() > 1 { above } else { Vec::new() };
    }
    levels
}

/// The topmost node.
pub(crate) fn topmost(levels: &[Vec<Entry>]) -> Option<Node> {
    let top = levels.last()?;
    Some(page_node(levels.len() as u8 - 1, top))
}

fn entry(key: Vec<u8>, node: Node) -> Entry {
    Entry {
        height: height(&key),
        key,
        node,
        begins: false,
    }
}

fn pages(entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    entries.chunk_by(|_, next| !next.begins)
}

fn page_node(level: u8, page: &[Entry]) -> Node {
    match page {
        [only] => only.node,
        _ => {
            let (left, right) = page.split_at(page.len() / 2);
            join(level, page_node(level, left), page_node(level, right))
        }
    }
}

fn page_starts(level: u8, entries: &[Entry]) -> Vec<usize> {
    let mut runs: Vec<Vec<usize>> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        if index == 0 || entry.height > level {
            runs.push(Vec::new());
        }
        runs.last_mut().unwrap().push(index);
    }
    let mut starts = Vec::new();
    for mut run in runs {
        if run.len() <= PAGE_MAX {
            starts.push(run[0]);
            continue;
        }
        for _ in 0..3 {
            let keys: Vec<&[u8]> = run.iter().map(|index| &entries[*index].key[..]).collect();
            run = thin(&keys).into_iter().map(|kept| run[kept]).collect();
        }
        starts.extend(run);
    }
    starts
}

/// Which of the keys are kept.
fn thin(keys: &[&[u8]]) -> Vec<usize> {
    // The label of each key; those that have none are at the beginning.
    let mut labels: Vec<Option<u64>> = vec![None];
    for pair in keys.windows(2) {
        let (before, key) = (bits(pair[0]), bits(pair[1]));
        let differs = before.iter().zip(&key).position(|(a, b)| a != b);
        labels.push(Some(differs.expect("keys differ") as u64));
    }
    for _ in 0..4 {
        let mut next = vec![None];
        for pair in labels.windows(2) {
            next.push(match (pair[0], pair[1]) {
                (Some(before), Some(label)) => {
                    let bit = (0..64).find(|bit| before >> bit & 1 != label >> bit & 1);
                    let bit = bit.expect("neighbours differ");
                    Some(2 * bit + (label >> bit & 1))
                }
                _ => None,
            });
        }
        labels = next;
    }
    let is_peak = |index: usize| {
        let at = |index: usize| labels.get(index).copied().flatten();
        let neighbours = index.checked_sub(1).and_then(at).zip(at(index + 1));
        at(index)
            .zip(neighbours)
            .is_some_and(|(label, (a, b))| label > a && label > b)
    };
    let starts: Vec<usize> = (0..keys.len())
        .filter(|index| *index == 0 || is_peak(*index))
        .collect();
    let mut kept = Vec::new();
    for (nth, start) in starts.iter().enumerate() {
        let end = starts.get(nth + 1).copied().unwrap_or(keys.len());
        kept.extend(
            (*start..end)
                .step_by(2)
                .filter(|index| index == start || index + 1 < end),
        );
    }
    kept
}

/// A key as bits: nine for each byte, and one for its end.
fn bits(key: &[u8]) -> Vec<bool> {
    let mut bits = Vec::new();
    for byte in key {
        bits.push(true);
        bits.extend((0..8).rev().map(|bit| byte >> bit & 1 == 1));
    }
    bits.push(false);
    bits
}

pub(crate) fn varint(mut number: u128) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number % 128) as u8;
        number /= 128;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low + 128);
    }
}

pub(crate) fn signed(number: i128) -> Vec<u8> {
    let magnitude = number.unsigned_abs();
    varint(if number < 0 {
        2 * magnitude - 1
    } else {
        2 * magnitude
    })
}

/// An item as it is encoded.
pub(crate) fn item(key: &[u8], bytes: &[u8]) -> Held {
    Held {
        key: key.to_vec(),
        value: [&[0], bytes].concat(),
        sum: 0,
    }
}

/// A sum item as it is encoded.
pub(crate) fn sum_item(key: &[u8], number: i64) -> Held {
    let sum = i128::from(number);
    Held {
        key: key.to_vec(),
        value: [vec![1], signed(sum)].concat(),
        sum,
    }
}

/// A subtree as the tree that holds it encodes it, by its tag: 2 for a plain one, 3 with its sum, 4 with its count.
pub(crate) fn subtree(key: &[u8], tag: u8, levels: &[Vec<Entry>]) -> Held {
    let top = topmost(levels);
    let (count, total) = top.map_or((0, 0), |top| (top.count, top.sum));
    let (number, sum) = match tag {
        2 => (Vec::new(), 0),
        3 => (signed(total), total),
        4 => (varint(u128::from(count)), 0),
        _ => panic!("no subtree has the tag {tag}"),
    };
    Held {
        key: key.to_vec(),
        value: [&[tag][..], &root(top), &number].concat(),
        sum,
    }
}

/// A reference as it is encoded: absolute, or relative with so many steps outwards.
pub(crate) fn reference(key: &[u8], up: Option<u64>, segments: &[&[u8]]) -> Held {
    let mut value = match up {
        None => vec![5],
        Some(up) => [vec![6], varint(u128::from(up))].concat(),
    };
    for segment in segments {
        value.extend(varint(segment.len() as u128));
        value.extend(*segment);
    }
    Held {
        key: key.to_vec(),
        value,
        sum: 0,
    }
}
