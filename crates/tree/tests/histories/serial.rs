//! What transactions did and saw, and a forest in memory on which the same is done one after the other.

use std::collections::BTreeMap;

use weald_proof::{Forest, Hash, Node, prove};
use weald_tree::{Answer, Direction, Element, Error, Query, Range, TreeKind, TreeTx, verify};

use crate::chance::Chance;

pub(crate) type Path = Vec<Vec<u8>>;

pub(crate) fn segments(path: &[Vec<u8>]) -> Vec<&[u8]> {
    path.iter().map(Vec::as_slice).collect()
}

/// A step of a transaction.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Get(Path, Vec<u8>),
    Ask(Query),
    Root,
    Put(Path, Vec<u8>, i64),
    Delete(Path, Vec<u8>),
    Create(Path, Vec<u8>, TreeKind),
    Drop(Path, Vec<u8>),
}

/// What a step gave.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Element(Option<Element>),
    Answer(Answer),
    Root(Hash),
    Flag(bool),
    Done,
    NoSubtree,
    Occupied,
}

/// All that a transaction did and saw.
pub(crate) type Record = Vec<(Step, Seen)>;

impl Step {
    /// One of few trees and keys, so that transactions meet.
    pub(crate) fn random(chance: &mut Chance) -> Step {
        let name = |chance: &mut Chance| vec![b'a' + chance.below(3) as u8];
        let path: Path = match chance.below(4) {
            0 => vec![],
            1 | 2 => vec![name(chance)],
            _ => vec![name(chance), name(chance)],
        };
        let key = |chance: &mut Chance| match chance.below(7) {
            0 | 1 => name(chance),
            2 => chance.key(),
            _ => vec![b'k', chance.below(20) as u8],
        };
        match chance.below(20) {
            0..6 => Step::Get(path, key(chance)),
            6..8 => Step::Ask(Step::query(chance).at(path)),
            8 => Step::Root,
            9..15 => Step::Put(path, key(chance), chance.below(1000) as i64 - 500),
            15 | 16 => Step::Delete(path, key(chance)),
            17 | 18 => {
                let kind = [TreeKind::Plain, TreeKind::Sum, TreeKind::Count][chance.below(3)];
                Step::Create(path, name(chance), kind)
            }
            _ => Step::Drop(path, name(chance)),
        }
    }

    fn query(chance: &mut Chance) -> Query {
        let from = chance.below(18) as u8;
        let range = Range::of(&[b'k', from][..]..&[b'k', from + 3][..]);
        match chance.below(3) {
            0 => Query::totals(range),
            1 => Query::entries([range]).direction(Direction::Descending).limit(2),
            _ => Query::entries([range]),
        }
    }

    /// Whether any of them writes, so that the transaction has a place in the order of commits.
    pub(crate) fn writes(record: &Record) -> bool {
        let read_only = |step: &Step| matches!(step, Step::Get(..) | Step::Ask(_) | Step::Root);
        record
            .iter()
            .any(|(step, seen)| !read_only(step) && matches!(seen, Seen::Done | Seen::Flag(true)))
    }

    /// Takes it in a transaction.
    pub(crate) fn take(&self, tx: &mut TreeTx<'_>) -> Result<Seen, Error> {
        let seen = match self {
            Step::Get(path, key) => tx.get(&segments(path), key).map(Seen::Element),
            Step::Ask(query) => tx.query(query).map(Seen::Answer),
            Step::Root => tx.root().map(Seen::Root),
            Step::Put(path, key, n) => tx
                .put(&segments(path), key, Element::SumItem(*n))
                .map(|()| Seen::Done),
            Step::Delete(path, key) => tx.delete(&segments(path), key).map(Seen::Flag),
            Step::Create(path, key, kind) => tx.create_tree(&segments(path), key, *kind).map(Seen::Flag),
            Step::Drop(path, key) => tx.drop_tree(&segments(path), key).map(Seen::Flag),
        };
        match seen {
            Err(Error::NoSubtree { .. }) => Ok(Seen::NoSubtree),
            Err(Error::Occupied { .. }) => Ok(Seen::Occupied),
            seen => seen,
        }
    }

    /// Takes it in memory, where nobody else is.
    pub(crate) fn model(&self, forest: &mut Forest) -> Seen {
        let (path, key) = match self {
            Step::Root => return Seen::Root(forest.root()),
            Step::Ask(query) => {
                let proof = prove(forest, query).expect("a query that can be asked");
                let answer = verify(&proof, &forest.root(), query).expect("a proof of it");
                return Seen::Answer(answer);
            }
            Step::Get(path, key)
            | Step::Put(path, key, _)
            | Step::Delete(path, key)
            | Step::Create(path, key, _)
            | Step::Drop(path, key) => (path, key),
        };
        let path = segments(path);
        let Some(held) = forest.elements(&path).map(|tree| tree.get(key).cloned()) else {
            return Seen::NoSubtree;
        };
        let is_tree = held.as_ref().is_some_and(|held| held.subtree().is_some());
        let (element, seen) = match self {
            Step::Put(..) | Step::Delete(..) if is_tree => return Seen::Occupied,
            Step::Put(_, _, n) => (Some(Element::SumItem(*n)), Seen::Done),
            Step::Delete(..) if held.is_some() => (None, Seen::Flag(true)),
            Step::Create(_, _, kind) => match (held, empty(*kind)) {
                (None, empty) => (Some(empty), Seen::Flag(true)),
                (Some(held), empty) if same_kind(&held, &empty) => return Seen::Flag(false),
                _ => return Seen::Occupied,
            },
            Step::Drop(..) if is_tree => (None, Seen::Flag(true)),
            Step::Delete(..) | Step::Drop(..) => return Seen::Flag(false),
            _ => return Seen::Element(held),
        };
        let edits = BTreeMap::from([(key.clone(), element)]);
        forest.apply(&path, edits).expect("sums are small");
        seen
    }
}

fn empty(kind: TreeKind) -> Element {
    let root = Node::root(None);
    match kind {
        TreeKind::Plain => Element::Tree(root),
        TreeKind::Sum => Element::SumTree { root, sum: 0 },
        TreeKind::Count => Element::CountTree { root, count: 0 },
    }
}

fn same_kind(a: &Element, b: &Element) -> bool {
    a.subtree().is_some() && std::mem::discriminant(a) == std::mem::discriminant(b)
}

/// Does again what a transaction did, alone; the first step that gives something else now.
pub(crate) fn replay(forest: &mut Forest, record: &Record) -> Result<(), String> {
    for (step, seen) in record {
        let now = step.model(forest);
        if now != *seen {
            return Err(format!("{step:?} gave {seen:?}, and would give {now:?}"));
        }
    }
    Ok(())
}

/// What may have come between a transaction and its commit, by the letter of what is documented.
#[derive(Default)]
pub(crate) struct Footprint {
    /// Trees in which it read something.
    read: Vec<Path>,
    /// Trees of which it saw the root hash, in an element or as such.
    whole: Vec<Path>,
    /// Trees that it went to.
    visited: Vec<Path>,
    /// Keys that it wrote, and whether each created or dropped a subtree.
    written: Vec<(Path, Vec<u8>, bool)>,
}

impl Footprint {
    pub(crate) fn of(record: &Record) -> Footprint {
        let mut footprint = Footprint::default();
        for (step, _) in record {
            match step {
                Step::Root => footprint.whole.push(vec![]),
                Step::Ask(query) => {
                    footprint.visited.push(query.path.clone());
                    footprint.read.push(query.path.clone());
                }
                Step::Get(path, key) | Step::Delete(path, key) => {
                    footprint.visited.push(path.clone());
                    footprint.read.push(path.clone());
                    footprint.whole.push(below(path, key));
                    if matches!(step, Step::Delete(..)) {
                        footprint.written.push((path.clone(), key.clone(), false));
                    }
                }
                Step::Put(path, key, _) => {
                    footprint.visited.push(below(path, key));
                    footprint.written.push((path.clone(), key.clone(), false));
                }
                Step::Create(path, key, _) | Step::Drop(path, key) => {
                    footprint.read.push(path.clone());
                    footprint.visited.push(below(path, key));
                    footprint.written.push((path.clone(), key.clone(), true));
                }
            }
        }
        footprint
    }

    /// Whether a commit with the other footprint may have changed what this one read.
    pub(crate) fn may_conflict_with(&self, other: &Footprint) -> bool {
        other.written.iter().any(|(path, key, structural)| {
            let place = below(path, key);
            self.read.contains(path)
                || self.whole.iter().any(|whole| path.starts_with(whole))
                || *structural && self.visited.iter().any(|visited| visited.starts_with(&place))
        })
    }
}

fn below(path: &Path, key: &[u8]) -> Path {
    path.iter().cloned().chain([key.to_vec()]).collect()
}
