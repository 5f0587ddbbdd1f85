//! One operation of a transaction, and what it must answer.

use std::ops::Bound;
use std::time::Duration;

use weald_engine::{Bucket, BucketMut, Cursor, Error, Readable, Savepoint, Writable};

use crate::model::{self, Model};
use crate::seed::asked;

pub(crate) type Name = Vec<Vec<u8>>;
pub(crate) type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// How long a key lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Ever,
    /// Longer than any test.
    Long,
    /// Over at once.
    Over,
}

/// A move of a cursor.
#[derive(Clone, Debug)]
pub(crate) enum Move {
    First,
    Last,
    Next,
    Prev,
    Seek(Vec<u8>),
    SeekForPrev(Vec<u8>),
}

/// What is done in a bucket.
#[derive(Clone, Debug)]
pub(crate) enum Do {
    Put(Vec<u8>, Vec<u8>, Life),
    Stream(Vec<u8>, Vec<u8>),
    Batch(Vec<(Vec<u8>, Vec<u8>)>),
    PutIfAbsent(Vec<u8>, Vec<u8>),
    Swap(Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>),
    /// Appends the bytes, or deletes what ends with them.
    Update(Vec<u8>, Vec<u8>),
    Merge(Vec<u8>, &'static str, Vec<u8>),
    Delete(Vec<u8>),
    Discard(Vec<u8>),
    DeleteRange(Bounds),
    Create(Vec<u8>),
    CreateIfAbsent(Vec<u8>),
    DeleteBucket(Vec<u8>),
    Rename(Vec<u8>, Vec<u8>),
    NextSequence,
    Get(Vec<u8>),
    GetStreamed(Vec<u8>),
    GetMany(Vec<Vec<u8>>),
    Ttl(Vec<u8>),
    Len,
    First,
    Last,
    /// A range, from which ends (`true` for the front), and thus at most how many pairs.
    Scan(Bounds, Vec<bool>),
    Prefix(Vec<u8>),
    Walk(Vec<Move>),
    Buckets,
    Sequence,
}

/// An operation of a transaction.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    In(Name, Do),
    Save,
    /// Back to the savepoint of this index.
    Back(usize),
}

/// What an operation answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Nothing,
    Yes(bool),
    Number(u64),
    Bytes(Option<Vec<u8>>),
    /// Keys and values; `None` where a cursor was on nothing.
    Pairs(Vec<Option<(Vec<u8>, Vec<u8>)>>),
    Names(Vec<Vec<u8>>),
    Refused(&'static str),
    /// Nothing that the model knows for sure.
    Unknown,
}

impl Answer {
    pub(crate) fn agrees(&self, other: &Answer) -> bool {
        self == other || *self == Answer::Unknown || *other == Answer::Unknown
    }

    /// In few words.
    pub(crate) fn brief(&self) -> String {
        let text = format!("{self:?}");
        text.chars().take(600).collect()
    }
}

/// A refusal that both sides know, or a failure.
fn refused(e: Error) -> Result<Answer, Error> {
    match e {
        Error::BucketNotFound { .. } => Ok(Answer::Refused("not found")),
        Error::BucketExists { .. } => Ok(Answer::Refused("exists")),
        Error::InvalidBucketName { .. } => Ok(Answer::Refused("name")),
        Error::SavepointGone => Ok(Answer::Refused("savepoint")),
        Error::TooLarge(ref what) if what.what == "a key" => Ok(Answer::Refused("key")),
        e => Err(e),
    }
}

/// A transaction of the database, with its savepoints.
pub(crate) struct Real<T> {
    pub(crate) tx: T,
    saves: Vec<Savepoint>,
}

impl<'db, T: Readable + Writable<'db>> Real<T> {
    pub(crate) fn new(tx: T) -> Real<T> {
        Real {
            tx,
            saves: Vec::new(),
        }
    }

    pub(crate) fn run(&mut self, op: &Op) -> Result<Answer, Error> {
        if asked("WEALD_TRACE").is_some() {
            eprintln!("{}", format!("{op:?}").chars().take(300).collect::<String>());
        }
        match op {
            Op::Save => {
                self.saves.push(self.tx.savepoint());
                Ok(Answer::Nothing)
            }
            Op::Back(index) => match self.tx.rollback_to(&self.saves[*index]) {
                Ok(()) => Ok(Answer::Nothing),
                Err(e) => refused(e),
            },
            Op::In(name, what) if what.writes() => {
                let mut bucket = self.tx.root_mut();
                for part in name {
                    bucket = match bucket.into_bucket_mut(part) {
                        Ok(bucket) => bucket,
                        Err(e) => return refused(e),
                    };
                }
                write(bucket, what).or_else(refused)
            }
            Op::In(name, what) => look(&self.tx, name, what),
        }
    }
}

/// Reads in any transaction.
pub(crate) fn look(tx: &impl Readable, name: &Name, what: &Do) -> Result<Answer, Error> {
    let bucket = name
        .iter()
        .try_fold(tx.root(), |bucket, part| bucket.bucket(part));
    bucket.and_then(|bucket| read(&bucket, what)).or_else(refused)
}

fn write(mut bucket: BucketMut<'_, '_>, what: &Do) -> Result<Answer, Error> {
    let done = |()| Answer::Nothing;
    match what {
        Do::Put(key, value, Life::Ever) => bucket.put(key, value).map(done),
        Do::Put(key, value, Life::Long) => bucket
            .put_with_ttl(key, value, Duration::from_secs(100_000))
            .map(done),
        Do::Put(key, value, Life::Over) => bucket.put_with_ttl(key, value, Duration::ZERO).map(done),
        Do::Stream(key, value) => bucket
            .put_reader(key, &mut &value[..], value.len() as u64)
            .map(done),
        Do::Batch(pairs) => bucket.batch_put(pairs.iter().map(|(k, v)| (k, v))).map(done),
        Do::PutIfAbsent(key, value) => bucket.put_if_absent(key, value).map(Answer::Yes),
        Do::Swap(key, was, is) => bucket
            .compare_and_swap(key, was.as_deref(), is.as_deref())
            .map(Answer::Yes),
        Do::Update(key, with) => bucket.update(key, |old| change(old, with)).map(Answer::Bytes),
        Do::Merge(key, operator, operand) => bucket.merge(key, operator, operand).map(done),
        Do::Delete(key) => bucket.delete(key).map(Answer::Yes),
        Do::Discard(key) => bucket.discard(key).map(done),
        Do::DeleteRange(range) => bucket.delete_range(range.clone()).map(done),
        Do::Create(name) => bucket.create_bucket(name).map(|_| Answer::Nothing),
        Do::CreateIfAbsent(name) => bucket.create_bucket_if_absent(name).map(|_| Answer::Nothing),
        Do::DeleteBucket(name) => bucket.delete_bucket(name).map(done),
        Do::Rename(name, to) => bucket.rename_bucket(name, to).map(done),
        Do::NextSequence => bucket.next_sequence().map(Answer::Number),
        _ => unreachable!("reads go elsewhere"),
    }
}

fn read(bucket: &Bucket<'_>, what: &Do) -> Result<Answer, Error> {
    let own = |pair: Option<(&[u8], &[u8])>| pair.map(|(k, v)| (k.to_vec(), v.to_vec()));
    Ok(match what {
        Do::Get(key) => {
            let value = bucket.get(key)?;
            assert_eq!(bucket.contains_key(key)?, value.is_some());
            Answer::Bytes(value)
        }
        Do::GetStreamed(key) => Answer::Bytes(match bucket.get_reader(key)? {
            None => None,
            Some(mut reader) => {
                let mut value = Vec::new();
                let len = reader.len();
                std::io::copy(&mut reader, &mut value).map_err(|e| {
                    let inner = e.into_inner().expect("a failed read says why");
                    *inner.downcast::<Error>().expect("in the engine's own words")
                })?;
                assert_eq!(len, value.len() as u64);
                Some(value)
            }
        }),
        Do::GetMany(keys) => {
            let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            let values = bucket.get_many(&keys)?;
            let pairs = keys.iter().zip(values);
            Answer::Pairs(pairs.map(|(k, v)| v.map(|v| (k.to_vec(), v.to_vec()))).collect())
        }
        Do::Ttl(key) => Answer::Number(match bucket.ttl(key)? {
            None => 0,
            Some(None) => 1,
            Some(Some(left)) => 2 + u64::from(left < Duration::from_secs(1000)),
        }),
        Do::Len => Answer::Number(bucket.len()?),
        Do::First => Answer::Pairs(vec![own(bucket.first()?)]),
        Do::Last => Answer::Pairs(vec![own(bucket.last()?)]),
        Do::Scan(range, ends) => {
            let mut iter = bucket.range(range.clone());
            let mut pairs = Vec::new();
            for front in ends {
                match if *front { iter.next() } else { iter.next_back() } {
                    Some(pair) => pairs.push(own(Some(pair?))),
                    None => {
                        assert!(iter.next().is_none() && iter.next_back().is_none());
                        break;
                    }
                }
            }
            Answer::Pairs(pairs)
        }
        Do::Prefix(prefix) => {
            let pairs = bucket.prefix(prefix).map(|pair| pair.map(|pair| own(Some(pair))));
            Answer::Pairs(pairs.collect::<Result<_, _>>()?)
        }
        Do::Walk(moves) => {
            let mut cursor = bucket.cursor();
            let mut pairs = Vec::new();
            for to in moves {
                let pair = own(step(&mut cursor, to)?);
                assert_eq!(own(cursor.current()?), pair);
                pairs.push(pair);
            }
            Answer::Pairs(pairs)
        }
        Do::Buckets => {
            let names = bucket.buckets()?;
            for name in &names {
                assert!(bucket.bucket_exists(name)?);
            }
            Answer::Names(names)
        }
        Do::Sequence => Answer::Number(bucket.sequence()?),
        _ => unreachable!("writes go elsewhere"),
    })
}

fn step<'t>(cursor: &mut Cursor<'t>, to: &Move) -> Result<Option<(&'t [u8], &'t [u8])>, Error> {
    match to {
        Move::First => cursor.first(),
        Move::Last => cursor.last(),
        Move::Next => cursor.next(),
        Move::Prev => cursor.prev(),
        Move::Seek(key) => cursor.seek(key),
        Move::SeekForPrev(key) => cursor.seek_for_prev(key),
    }
}

fn change(old: Option<&[u8]>, with: &[u8]) -> Option<Vec<u8>> {
    match old {
        Some(old) if old.ends_with(with) => None,
        old => Some(
            [
                &old.unwrap_or_default()[..old.map_or(0, |o| o.len().min(500))],
                with,
            ]
            .concat(),
        ),
    }
}

impl Do {
    pub(crate) fn writes(&self) -> bool {
        !matches!(
            self,
            Do::Get(_)
                | Do::GetStreamed(_)
                | Do::GetMany(_)
                | Do::Ttl(_)
                | Do::Len
                | Do::First
                | Do::Last
                | Do::Scan(..)
                | Do::Prefix(_)
                | Do::Walk(_)
                | Do::Buckets
                | Do::Sequence
        )
    }
}

/// What a transaction of the database must come to.
#[derive(Clone, Debug)]
pub(crate) struct Ideal {
    pub(crate) model: Model,
    pub(crate) key_max: usize,
    saves: Vec<Option<Model>>,
}

impl Ideal {
    pub(crate) fn new(model: &Model, key_max: usize) -> Ideal {
        Ideal {
            model: model.clone(),
            key_max,
            saves: Vec::new(),
        }
    }

    pub(crate) fn saves(&self) -> usize {
        self.saves.len()
    }

    /// Why there is no bucket at `path`.
    fn missing(&self, path: &Name) -> Answer {
        let there = (0..path.len()).rfind(|depth| self.model.at(&path[..*depth]).is_some());
        nameless(&path[there.expect("the root is there")])
    }

    pub(crate) fn run(&mut self, op: &Op) -> Answer {
        match op {
            Op::Save => {
                self.saves.push(Some(self.model.clone()));
                Answer::Nothing
            }
            Op::Back(index) => match self.saves[*index].clone() {
                None => Answer::Refused("savepoint"),
                Some(model) => {
                    self.model = model;
                    self.saves[index + 1..].iter_mut().for_each(|gone| *gone = None);
                    Answer::Nothing
                }
            },
            Op::In(name, what) => match self.model.at_mut(name) {
                None => self.missing(name),
                Some(bucket) if what.writes() => write_ideal(bucket, what, self.key_max),
                Some(bucket) => read_ideal(bucket, what),
            },
        }
    }
}

fn is_name(name: &[u8]) -> bool {
    (1..=255).contains(&name.len())
}

/// Why there is no bucket of a name.
fn nameless(name: &[u8]) -> Answer {
    Answer::Refused(if is_name(name) { "not found" } else { "name" })
}

fn write_ideal(bucket: &mut Model, what: &Do, key_max: usize) -> Answer {
    if what.keys().any(|key| key.len() > key_max) {
        return Answer::Refused("key");
    }
    match what {
        Do::Put(key, _, Life::Over) => {
            bucket.remove(key);
            bucket.ghosts.insert(key.clone());
        }
        Do::Put(key, value, life) => bucket.put(key, value, *life == Life::Long),
        Do::Stream(key, value) => bucket.put(key, value, false),
        Do::Batch(pairs) => pairs
            .iter()
            .for_each(|(key, value)| bucket.put(key, value, false)),
        Do::PutIfAbsent(key, value) => {
            let absent = !bucket.pairs.contains_key(key);
            if absent {
                bucket.put(key, value, false);
            }
            return Answer::Yes(absent);
        }
        Do::Swap(key, was, is) => {
            let same = bucket.pairs.get(key).map(|v| &*v.bytes) == was.as_deref();
            match is {
                Some(is) if same => bucket.put(key, is, false),
                None if same => drop(bucket.remove(key)),
                _ => {}
            }
            return Answer::Yes(same);
        }
        Do::Update(key, with) => {
            let new = change(bucket.pairs.get(key).map(|v| &*v.bytes), with);
            match &new {
                Some(value) => bucket.put(key, value, false),
                None => drop(bucket.remove(key)),
            }
            return Answer::Bytes(new);
        }
        Do::Merge(key, operator, operand) => {
            let old = bucket.pairs.get(key).cloned();
            let new = model::merge(operator, key, old.as_ref().map(|v| &*v.bytes), operand);
            match new {
                Some(value) => bucket.put(key, &value, old.is_some_and(|v| v.mortal)),
                None => drop(bucket.remove(key)),
            }
        }
        Do::Delete(key) => {
            let ghost = bucket.ghosts.contains(key);
            let was = bucket.remove(key);
            if ghost {
                bucket.ghosts.insert(key.clone());
            }
            return Answer::Yes(was);
        }
        Do::Discard(key) => drop(bucket.remove(key)),
        Do::DeleteRange(range) => {
            bucket.pairs.retain(|key, _| !within(range, key));
            bucket.ghosts.retain(|key| !within(range, key));
        }
        Do::Create(name) | Do::CreateIfAbsent(name) => {
            let exists = bucket.buckets.contains_key(name);
            if !is_name(name) {
                return Answer::Refused("name");
            }
            if exists && matches!(what, Do::Create(_)) {
                return Answer::Refused("exists");
            }
            bucket.buckets.entry(name.clone()).or_default();
        }
        Do::DeleteBucket(name) => {
            if bucket.buckets.remove(name).is_none() {
                return nameless(name);
            }
        }
        Do::Rename(name, to) => {
            if !bucket.buckets.contains_key(name) {
                return nameless(name);
            }
            if !is_name(to) {
                return Answer::Refused("name");
            }
            if bucket.buckets.contains_key(to) {
                return Answer::Refused("exists");
            }
            let moved = bucket.buckets.remove(name).expect("looked up just now");
            bucket.buckets.insert(to.clone(), moved);
        }
        Do::NextSequence => {
            bucket.sequence += 1;
            return Answer::Number(bucket.sequence);
        }
        _ => unreachable!("reads go elsewhere"),
    }
    Answer::Nothing
}

fn within(range: &Bounds, key: &[u8]) -> bool {
    let after = match &range.0 {
        Bound::Unbounded => true,
        Bound::Included(start) => key >= &start[..],
        Bound::Excluded(start) => key > &start[..],
    };
    after
        && match &range.1 {
            Bound::Unbounded => true,
            Bound::Included(end) => key <= &end[..],
            Bound::Excluded(end) => key < &end[..],
        }
}

type Pair = (Vec<u8>, Vec<u8>);

fn read_ideal(bucket: &Model, what: &Do) -> Answer {
    let pair = |key: &Vec<u8>| (key.clone(), bucket.pairs[key].bytes.to_vec());
    match what {
        Do::Get(key) | Do::GetStreamed(key) => Answer::Bytes(bucket.pairs.get(key).map(|v| v.bytes.to_vec())),
        Do::GetMany(keys) => Answer::Pairs(
            keys.iter()
                .map(|key| bucket.pairs.contains_key(key).then(|| pair(key)))
                .collect(),
        ),
        Do::Ttl(key) => Answer::Number(bucket.pairs.get(key).map_or(0, |v| 1 + u64::from(v.mortal))),
        Do::Len if !bucket.ghosts.is_empty() => Answer::Unknown,
        Do::Len => Answer::Number(bucket.pairs.len() as u64),
        Do::First => Answer::Pairs(vec![bucket.pairs.keys().next().map(pair)]),
        Do::Last => Answer::Pairs(vec![bucket.pairs.keys().next_back().map(pair)]),
        Do::Scan(range, ends) => {
            let mut keys = bucket.pairs.keys().filter(|key| within(range, key));
            let mut pairs = Vec::new();
            for front in ends {
                match if *front { keys.next() } else { keys.next_back() } {
                    Some(key) => pairs.push(Some(pair(key))),
                    None => break,
                }
            }
            Answer::Pairs(pairs)
        }
        Do::Prefix(prefix) => {
            let keys = bucket.pairs.keys().filter(|key| key.starts_with(prefix));
            Answer::Pairs(keys.map(|key| Some(pair(key))).collect())
        }
        Do::Walk(moves) => Answer::Pairs(walk(bucket, moves)),
        Do::Buckets => Answer::Names(bucket.buckets.keys().cloned().collect()),
        Do::Sequence => Answer::Number(bucket.sequence),
        _ => unreachable!("writes go elsewhere"),
    }
}

/// Where the model of a cursor is.
enum Place {
    Before,
    On(Vec<u8>),
    After,
}

fn walk(bucket: &Model, moves: &[Move]) -> Vec<Option<Pair>> {
    let mut place = Place::Before;
    let from = |bound: Bound<Vec<u8>>| {
        let mut range = bucket.pairs.range((bound, Bound::Unbounded));
        range
            .next()
            .map_or(Place::After, |(key, _)| Place::On(key.clone()))
    };
    let upto = |bound: Bound<Vec<u8>>| {
        let mut range = bucket.pairs.range((Bound::Unbounded, bound));
        range
            .next_back()
            .map_or(Place::Before, |(key, _)| Place::On(key.clone()))
    };
    let mut pairs = Vec::new();
    for to in moves {
        place = match (to, place) {
            (Move::First, _) | (Move::Next, Place::Before) => from(Bound::Unbounded),
            (Move::Last, _) | (Move::Prev, Place::After) => upto(Bound::Unbounded),
            (Move::Seek(key), _) => from(Bound::Included(key.clone())),
            (Move::SeekForPrev(key), _) => upto(Bound::Included(key.clone())),
            (Move::Next, Place::On(key)) => from(Bound::Excluded(key)),
            (Move::Prev, Place::On(key)) => upto(Bound::Excluded(key)),
            (Move::Next, Place::After) => Place::After,
            (Move::Prev, Place::Before) => Place::Before,
        };
        pairs.push(match &place {
            Place::On(key) => Some((key.clone(), bucket.pairs[key].bytes.to_vec())),
            Place::Before | Place::After => None,
        });
    }
    pairs
}

impl Do {
    /// The keys that it writes.
    fn keys(&self) -> impl Iterator<Item = &Vec<u8>> {
        let (one, many): (Option<&Vec<u8>>, &[Pair]) = match self {
            Do::Put(key, ..) | Do::Stream(key, _) | Do::Merge(key, ..) | Do::Discard(key) => (Some(key), &[]),
            Do::Batch(pairs) => (None, pairs),
            _ => (None, &[]),
        };
        one.into_iter().chain(many.iter().map(|(key, _)| key))
    }
}
