//! The stage against a map of ordered keys, and its memory.

use std::collections::BTreeMap;
use std::time::Instant;

use super::*;
use crate::ids::PagePtr;
use crate::op::Value;

/// A small generator of random numbers, so that a seed repeats a failure.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Model {
    Put(Vec<u8>, Option<u64>),
    Large(LargeRef, Option<u64>),
    Deleted,
    Merged(Option<Box<Model>>, Vec<(u32, Vec<u8>)>),
}

#[derive(Clone, Debug, Default)]
struct TreeModel {
    points: BTreeMap<Vec<u8>, Model>,
    ranges: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    dropped: bool,
}

impl TreeModel {
    fn hides(&self, key: &[u8]) -> bool {
        let within = |(start, end): &(Vec<u8>, Option<Vec<u8>>)| {
            &start[..] <= key && end.as_ref().is_none_or(|end| key < &end[..])
        };
        self.dropped || self.ranges.iter().any(within)
    }

    fn staged<'a>(&'a self, key: &'a [u8]) -> Staged<'a> {
        match self.points.get(key) {
            None if self.hides(key) => Staged::Hidden,
            None => Staged::Nothing,
            Some(Model::Deleted) => Staged::Hidden,
            Some(Model::Merged(base, operands)) => Staged::Merged {
                base: match base.as_deref() {
                    None if self.hides(key) => MergeBase::Hidden,
                    None => MergeBase::Nothing,
                    Some(Model::Deleted) => MergeBase::Hidden,
                    Some(put) => MergeBase::Put(entry(put)),
                },
                operands: operands
                    .iter()
                    .map(|(operator, operand)| (*operator, &operand[..]))
                    .collect(),
            },
            Some(put) => Staged::Put(entry(put)),
        }
    }
}

fn entry(put: &Model) -> Entry<'_> {
    match put {
        Model::Put(value, expires) => Entry {
            value: Value::Inline(value),
            expires: *expires,
        },
        Model::Large(large, expires) => Entry {
            value: Value::Large(*large),
            expires: *expires,
        },
        _ => panic!("not a put: {put:?}"),
    }
}

#[derive(Clone, Debug, Default)]
struct StageModel {
    trees: BTreeMap<TreeId, TreeModel>,
    large: Vec<LargeRef>,
}

impl StageModel {
    fn superseded(&self) -> Vec<LargeRef> {
        let live = self
            .trees
            .values()
            .flat_map(|tree| tree.points.values())
            .filter_map(|point| match point {
                Model::Large(large, _) => Some(*large),
                Model::Merged(Some(base), _) => match **base {
                    Model::Large(large, _) => Some(large),
                    _ => None,
                },
                _ => None,
            });
        let live: Vec<LargeRef> = live.collect();
        self.large
            .iter()
            .copied()
            .filter(|large| !live.contains(large))
            .collect()
    }
}

/// The keys that a test draws from.
#[derive(Clone, Copy, Debug)]
enum Keys {
    /// Short ones, where one is often the beginning of another.
    Short,
    /// Short ones behind a common beginning longer than the prefix that the index keeps.
    LongBeginning,
    /// So many that the index has many blocks.
    Many,
}

impl Keys {
    fn draw(self, random: &mut Random) -> Vec<u8> {
        let short = |random: &mut Random| {
            let len = random.below(4);
            (0..len)
                .map(|_| [0, b'a', 255][random.below(3) as usize])
                .collect::<Vec<u8>>()
        };
        match self {
            Keys::Short => short(random),
            Keys::LongBeginning => [b"a long beginning".to_vec(), short(random)].concat(),
            Keys::Many => (random.below(6000) as u16).to_be_bytes().to_vec(),
        }
    }
}

struct Pair {
    stage: Stage,
    model: StageModel,
    random: Random,
    keys: Keys,
    next_large: u64,
}

const TREES: u64 = 3;

impl Pair {
    fn new(seed: u64, keys: Keys, secure: bool) -> Pair {
        let pool = ArenaPool::new(1 << 20, secure);
        Pair {
            stage: Stage::new(&pool),
            model: StageModel::default(),
            random: Random(seed),
            keys,
            next_large: 1,
        }
    }

    fn step(&mut self, ranges: bool) {
        let tree = TreeId(16 + self.random.below(TREES));
        let key = self.keys.draw(&mut self.random);
        let model = self.model.trees.entry(tree).or_default();
        if model.dropped {
            return;
        }
        let expires = (self.random.below(4) == 0).then(|| self.random.next());
        let value = vec![self.random.next() as u8; self.random.below(40) as usize];
        match self.random.below(if ranges { 100 } else { 90 }) {
            0..40 => {
                self.stage.put(tree, &key, &value, expires);
                model.points.insert(key, Model::Put(value, expires));
            }
            40..50 => {
                let large = LargeRef {
                    first: PagePtr::from_bits(self.next_large),
                    len: self.random.next(),
                    checksum: self.random.next(),
                };
                self.next_large += 1;
                self.stage.put_large(tree, &key, large, expires);
                model.points.insert(key, Model::Large(large, expires));
                self.model.large.push(large);
            }
            50..70 => {
                self.stage.delete(tree, &key);
                model.points.insert(key, Model::Deleted);
            }
            70..90 => {
                let operator = self.random.next() as u32;
                self.stage.merge(tree, &key, operator, &value);
                let merged = match model.points.remove(&key) {
                    Some(Model::Merged(base, mut operands)) => {
                        operands.push((operator, value));
                        Model::Merged(base, operands)
                    }
                    base => Model::Merged(base.map(Box::new), vec![(operator, value)]),
                };
                model.points.insert(key, merged);
            }
            90..99 => {
                let end = (self.random.below(12) != 0).then(|| self.keys.draw(&mut self.random));
                self.stage.delete_range(tree, &key, end.as_deref());
                if end.as_ref().is_none_or(|end| *end > key) {
                    model.ranges.push((key, end));
                    let model_of_ranges = TreeModel {
                        ranges: vec![model.ranges.last().expect("one was pushed").clone()],
                        ..TreeModel::default()
                    };
                    model.points.retain(|key, _| !model_of_ranges.hides(key));
                }
            }
            _ if self.random.below(8) == 0 => {
                self.stage.drop_tree(tree);
                *model = TreeModel {
                    dropped: true,
                    ..TreeModel::default()
                };
            }
            _ => {}
        }
    }

    /// Looks a key up that no operands are merged into: until there is an index, that is the table's.
    fn look_up(&mut self) {
        let tree = TreeId(16 + self.random.below(TREES));
        let key = self.keys.draw(&mut self.random);
        let empty = TreeModel::default();
        let expected = self.model.trees.get(&tree).unwrap_or(&empty).staged(&key);
        if !matches!(expected, Staged::Merged { .. }) {
            assert_eq!(self.stage.get(tree, &key), expected, "{key:?}");
        }
    }

    fn check(&mut self) {
        for tree in 16..16 + TREES {
            let tree = TreeId(tree);
            let empty = TreeModel::default();
            let model = self.model.trees.get(&tree).unwrap_or(&empty);
            for _ in 0..40 {
                let key = self.keys.draw(&mut self.random);
                assert_eq!(self.stage.get(tree, &key), model.staged(&key), "{key:?}");
                assert_eq!(self.stage.hides(tree, &key), model.hides(&key), "{key:?}");
                let mut cursor = self.stage.cursor(tree);
                let item = |(key, _): (&'_ Vec<u8>, &Model)| key.clone();
                let at = cursor.seek(&key).map(|(key, _)| key.to_vec());
                assert_eq!(at, model.points.range(key.clone()..).next().map(item));
                let before = cursor.prev().map(|(key, _)| key.to_vec());
                assert_eq!(before, model.points.range(..key.clone()).next_back().map(item));
                let at = cursor.seek_for_prev(&key).map(|(key, _)| key.to_vec());
                assert_eq!(at, model.points.range(..=key.clone()).next_back().map(item));
                assert_eq!(cursor.key().map(<[u8]>::to_vec), at);
                let next = cursor.next().map(|(key, _)| key.to_vec());
                let above = (std::ops::Bound::Excluded(key), std::ops::Bound::Unbounded);
                assert_eq!(next, model.points.range(above).next().map(item));
            }
            let expected: Vec<_> = model
                .points
                .keys()
                .map(|key| (&key[..], model.staged(key)))
                .collect();
            let mut cursor = self.stage.cursor(tree);
            let forward: Vec<_> = std::iter::from_fn(|| cursor.next()).collect();
            assert_eq!(forward, expected);
            let mut backward: Vec<_> = std::iter::from_fn(|| cursor.prev()).collect();
            backward.reverse();
            assert_eq!(backward, expected);
            assert_eq!(cursor.first(), expected.first().cloned());
            assert_eq!(cursor.last(), expected.last().cloned());
        }
        assert!(self.stage.large_values().eq(self.model.large.iter().copied()));
        assert!(self.stage.superseded_large_values().eq(self.model.superseded()));
        self.check_finish();
    }

    fn check_finish(&mut self) {
        let trees: Vec<_> = self.stage.finish().trees().collect();
        let mut expected = self
            .model
            .trees
            .iter()
            .filter(|(_, tree)| tree.dropped || !tree.points.is_empty() || !tree.ranges.is_empty());
        for sorted in trees {
            let (tree, model) = expected
                .next()
                .expect("the stage has no more trees than the model");
            assert_eq!((sorted.tree, sorted.dropped), (*tree, model.dropped));
            let points: Vec<_> = model
                .points
                .keys()
                .map(|key| (&key[..], model.staged(key)))
                .collect();
            assert_eq!(sorted.points_len(), points.len());
            assert_eq!(sorted.points().collect::<Vec<_>>(), points);
            let ranges: Vec<_> = sorted.ranges().collect();
            for pair in ranges.windows(2) {
                assert!(pair[0].1.is_some_and(|end| end < pair[1].0), "{ranges:?}");
            }
            let mut edges: Vec<_> = model.ranges.clone();
            edges.sort();
            let mut union: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
            for (start, end) in edges {
                match union.last_mut() {
                    Some((_, None)) => {}
                    Some((_, Some(last))) if *last >= start => {
                        let joined = end.map(|end| end.max(last.clone()));
                        union.last_mut().expect("there is one").1 = joined;
                    }
                    _ => union.push((start, end)),
                }
            }
            let union: Vec<_> = union
                .iter()
                .map(|(start, end)| (&start[..], end.as_deref()))
                .collect();
            assert_eq!(ranges, union);
        }
        assert!(expected.next().is_none());
    }
}

fn run(seed: u64, keys: Keys, secure: bool, steps: u64, checks: u64) {
    eprintln!("seed {seed} {keys:?}");
    let mut pair = Pair::new(seed, keys, secure);
    let mut savepoints: Vec<(Savepoint, StageModel)> = Vec::new();
    // Half of the histories begin as a pure load, so that the index is built over a log.
    let load = if seed.is_multiple_of(2) { steps / 2 } else { 0 };
    for step in 0..steps {
        pair.step(step >= load);
        // In a quarter of the histories the load is looked at, so that there is a table before the index.
        if seed.is_multiple_of(4) {
            pair.look_up();
        }
        match pair.random.below(50) {
            0..2 => savepoints.push((pair.stage.savepoint(), pair.model.clone())),
            2 if !savepoints.is_empty() => {
                let at = pair.random.below(savepoints.len() as u64) as usize;
                let (savepoint, model) = savepoints[at].clone();
                savepoints.truncate(at + pair.random.below(2) as usize);
                let rolled_back = pair.stage.rollback_to(&savepoint);
                assert_eq!(rolled_back, pair.model.large[model.large.len()..]);
                pair.model = model;
            }
            _ => {}
        }
        if step >= load && pair.random.below(steps / checks) == 0 {
            pair.check();
        }
    }
    pair.check();
    for (savepoint, model) in savepoints.into_iter().rev() {
        pair.stage.rollback_to(&savepoint);
        pair.model = model;
        pair.check();
    }
}

#[test]
fn stage_agrees_with_the_model() {
    for seed in 0..60 {
        run(seed, Keys::Short, false, 400, 20);
        run(seed, Keys::LongBeginning, false, 400, 20);
        run(seed, Keys::Short, true, 400, 20);
    }
}

#[test]
fn stage_with_many_blocks_agrees_with_the_model() {
    for seed in 0..4 {
        run(seed, Keys::Many, false, 20_000, 10);
    }
}

#[test]
fn values_of_all_sizes_come_back_and_roll_back() {
    let pool = ArenaPool::new(8 << 20, false);
    let mut stage = Stage::new(&pool);
    let sizes = [0, 1, 4095, 4096, 4097, 100_000, 1 << 20, 3 << 20, 7];
    let value = |i: usize| vec![i as u8; sizes[i]];
    let savepoints: Vec<Savepoint> = (0..sizes.len())
        .map(|i| {
            let savepoint = stage.savepoint();
            stage.put(TreeId::ROOT, &[i as u8], &value(i), None);
            savepoint
        })
        .collect();
    for kept in (0..sizes.len()).rev() {
        for i in 0..=kept {
            let expected = value(i);
            let entry = Entry {
                value: Value::Inline(&expected),
                expires: None,
            };
            assert_eq!(stage.get(TreeId::ROOT, &[i as u8]), Staged::Put(entry));
        }
        stage.rollback_to(&savepoints[kept]);
        assert_eq!(stage.get(TreeId::ROOT, &[kept as u8]), Staged::Nothing);
    }
    assert!(stage.is_empty());
    assert_eq!(stage.bytes(), 0);
}

#[test]
fn pool_reuses_chunks_and_keeps_to_its_limit() {
    let pool = ArenaPool::new(8 << 10, false);
    for _ in 0..10 {
        let mut stage = Stage::new(&pool);
        stage.put(TreeId::ROOT, b"key", b"value", None);
    }
    assert_eq!(
        (pool.stats().created, pool.stats().reused, pool.stats().freed),
        (1, 9, 0)
    );
    let stages: Vec<Stage> = (0..5)
        .map(|_| {
            let mut stage = Stage::new(&pool);
            stage.put(TreeId::ROOT, b"key", &[1; 900], None);
            stage.put(TreeId::ROOT, b"key", &[1; 5_000_000], None);
            stage
        })
        .collect();
    drop(stages);
    assert_eq!(pool.stats().pooled_bytes, 8 << 10);
    assert_eq!(pool.stats().created - pool.stats().freed, 2);
}

#[test]
fn secure_pool_wipes_what_is_released() {
    let contents = |secure| {
        let pool = ArenaPool::new(1 << 20, secure);
        let mut stage = Stage::new(&pool);
        for i in 0..100 {
            stage.put(TreeId::ROOT, &[i], b"secret", None);
        }
        stage.get(TreeId::ROOT, b"");
        drop(stage);
        pool.pooled_contents().concat()
    };
    assert_eq!(contents(true), vec![0; 700]);
    assert!(contents(false).ends_with(b"secret"));
}

#[test]
#[ignore = "prints timings"]
fn timings() {
    let pool = ArenaPool::new(64 << 20, false);
    let time = |what: &str, n: u64, work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        let elapsed = start.elapsed();
        println!(
            "{what}: {:.1} ms, {:.1} ns each",
            elapsed.as_secs_f64() * 1e3,
            elapsed.as_nanos() as f64 / n as f64
        );
    };
    let n = 1_000_000;
    let tree = TreeId(16);
    let random_key = |random: &mut Random| {
        let mut key = [0; 24];
        key.chunks_mut(8)
            .for_each(|chunk| chunk.copy_from_slice(&random.next().to_be_bytes()));
        key
    };
    time("one-put transactions", n, &mut || {
        for i in 0..n {
            let mut stage = Stage::new(&pool);
            stage.put(tree, &i.to_be_bytes(), &[7; 100], None);
            std::hint::black_box(&stage);
        }
    });
    time("one-put transactions, finished", n, &mut || {
        for i in 0..n {
            let mut stage = Stage::new(&pool);
            stage.put(tree, &i.to_be_bytes(), &[7; 100], None);
            for tree in stage.finish().trees() {
                std::hint::black_box(tree.points().count());
            }
        }
    });
    let keys: Vec<[u8; 24]> = (0..n).map(|i| random_key(&mut Random(i))).collect();
    for round in 0..2 {
        let mut stage = Stage::new(&pool);
        time(&format!("put 24+100, round {round}"), n, &mut || {
            for key in &keys {
                stage.put(tree, key, &[7; 100], None);
            }
        });
        time("sort random", n, &mut || {
            assert!(stage.finish().trees().next().is_some())
        });
        time("walk", n, &mut || {
            for tree in stage.finish().trees() {
                std::hint::black_box(tree.points().count());
            }
        });
        time("get", n, &mut || {
            for key in &keys {
                std::hint::black_box(stage.get(tree, key));
            }
        });
    }
    let mut stage = Stage::new(&pool);
    stage.put(tree, b"", b"", None);
    stage.get(tree, b"");
    time("put into the index, random", n, &mut || {
        for key in &keys {
            stage.put(tree, key, &[7; 100], None);
        }
    });
    drop(stage);
    let mut stage = Stage::new(&pool);
    for key in &keys {
        stage.put(tree, &[b"a common beginning", &key[..]].concat(), &[7; 100], None);
    }
    time("sort random behind a common beginning", n, &mut || {
        assert!(stage.finish().trees().next().is_some())
    });
    drop(stage);
    let mut stage = Stage::new(&pool);
    time("put ascending", n, &mut || {
        for i in 0..n {
            stage.put(tree, &i.to_be_bytes(), &[7; 100], None);
        }
    });
    time("sort ascending", n, &mut || {
        assert!(stage.finish().trees().next().is_some())
    });
}

#[test]
fn it_is_known_whether_keys_came_in_order() {
    let tree = TreeId(9);
    let pool = ArenaPool::new(0, false);
    let is_mixed = |keys: &[&str], read_after: usize| {
        let mut stage = Stage::new(&pool);
        for (i, key) in keys.iter().enumerate() {
            if i == read_after {
                stage.get(tree, b"anything");
            }
            stage.put(tree, key.as_bytes(), b"", None);
        }
        stage.finish().trees().next().is_some_and(|tree| tree.is_mixed())
    };
    // Read first, so that each is sorted in; in the midst; not at all.
    for read_after in [0, 2, usize::MAX] {
        assert!(!is_mixed(&["a", "b", "ba", "c", "ca"], read_after));
        assert!(!is_mixed(&["a", "a", "b", "b"], read_after));
        assert!(is_mixed(&["a", "b", "d", "c"], read_after));
        assert!(is_mixed(&["a", "c", "b", "d"], read_after));
    }
}

#[test]
fn what_was_sorted_as_it_came_is_in_the_same_order() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let pool = ArenaPool::new(0, seed % 10 == 9);
        let (mut plain, mut noted) = (Stage::new(&pool), Stage::new(&pool));
        let mut presort = presort::Presort::in_runs_of(1 + seed as usize % 40);
        let beginning = ["", "a", "eight bytes and more"][seed as usize % 3];
        for n in 0..random.below(600) {
            let tree = TreeId(random.below(1 + seed % 4));
            let len = random.below(12);
            let mut key = beginning.as_bytes().to_vec();
            key.extend((0..len).map(|_| [0, 1, 255][random.below(3) as usize]));
            let what = random.below(10);
            let large = LargeRef {
                first: PagePtr::from_bits(n + 1),
                len: n,
                checksum: n,
            };
            for stage in [&mut plain, &mut noted] {
                match what {
                    0 => stage.delete(tree, &key),
                    1 => stage.put_large(tree, &key, large, None),
                    // Nothing is staged.
                    2 => stage.delete_range(tree, &key, Some(&key)),
                    // Brings what there is in order at once.
                    3 if n % 400 == 399 => stage.delete_range(tree, &key, None),
                    _ => stage.put(tree, &key, &n.to_be_bytes(), None),
                }
            }
            presort.note(&noted);
        }
        noted.order_with(presort);
        let all = |stage: &Stage| -> Vec<_> {
            let trees = stage.finish();
            let trees = trees.trees().map(|tree| {
                let points: Vec<_> = tree.points().map(|point| format!("{point:?}")).collect();
                (tree.tree, tree.is_mixed(), points)
            });
            trees.collect()
        };
        assert_eq!(all(&noted), all(&plain), "seed {seed}");
        let superseded = |stage: &Stage| stage.superseded_large_values().collect::<Vec<_>>();
        assert_eq!(superseded(&noted), superseded(&plain), "seed {seed}");
    }
}
