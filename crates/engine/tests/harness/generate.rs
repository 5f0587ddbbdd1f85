//! Operations and options by chance.

use std::ops::Bound;

use weald_engine::{DatabaseOptions, PageSize, SyncPolicy};

use crate::model::{self, Model, OPERATORS};
use crate::op::{Bounds, Do, Life, Move, Op};
use crate::seed::Rng;

/// What operations are made of.
pub(crate) struct Generator {
    pub(crate) rng: Rng,
    keys: Vec<Vec<u8>>,
    names: Vec<Vec<u8>>,
    /// No value is longer.
    pub(crate) value_max: usize,
    /// Whether keys may expire at once.
    pub(crate) ghosts: bool,
}

impl Generator {
    pub(crate) fn new(seed: u64, keys: usize, key_max: usize, value_max: usize) -> Generator {
        let mut rng = Rng::new(seed);
        let mut pool: Vec<Vec<u8>> = vec![
            Vec::new(),
            vec![0],
            vec![0xff],
            vec![0xff; 9],
            vec![b'k'; key_max],
        ];
        while pool.len() < keys {
            let key = match rng.below(8) {
                0 => {
                    let len = rng.below(12) as usize;
                    rng.bytes(len)
                }
                1 => {
                    let mut key = rng.pick(&pool).clone();
                    key.push(*rng.pick(&[0, 1, 0xfe, 0xff]));
                    key
                }
                2 => {
                    let len = rng.below(key_max as u64) as usize;
                    let mut key = vec![b'l'; len];
                    key.extend(rng.bytes(2));
                    key
                }
                _ => format!("key-{:05}", rng.below(10_000)).into_bytes(),
            };
            if key.len() <= key_max {
                pool.push(key);
            }
        }
        let names = ["a", "b", "c", "a longer name"].map(|name| name.as_bytes().to_vec());
        let names = names.into_iter().chain([vec![0], vec![0xff; 255]]).collect();
        Generator {
            rng,
            keys: pool,
            names,
            value_max,
            ghosts: true,
        }
    }

    pub(crate) fn key(&mut self) -> Vec<u8> {
        if self.rng.one_in(200) {
            return vec![b'x'; 40_000];
        }
        self.rng.pick(&self.keys).clone()
    }

    /// A key that no bucket refuses.
    pub(crate) fn good_key(&mut self) -> Vec<u8> {
        self.rng.pick(&self.keys).clone()
    }

    pub(crate) fn value(&mut self) -> Vec<u8> {
        let len = match self.rng.below(40) {
            0..=2 => 0,
            3..=28 => self.rng.below(60),
            29..=34 => 200 + self.rng.below(1200),
            35..=38 => self.rng.below(9000),
            _ => self.rng.below(300_000),
        };
        let len = (len as usize).min(self.value_max);
        if self.rng.one_in(3) {
            let byte = self.rng.next() as u8;
            vec![byte; len]
        } else {
            self.rng.bytes(len)
        }
    }

    fn bounds(&mut self) -> Bounds {
        let bound = |g: &mut Generator| match g.rng.below(5) {
            0 => Bound::Unbounded,
            1..=2 => Bound::Included(g.good_key()),
            _ => Bound::Excluded(g.good_key()),
        };
        let (mut start, mut end) = (bound(self), bound(self));
        let inner = |b: &Bound<Vec<u8>>| match b {
            Bound::Unbounded => None,
            Bound::Included(key) | Bound::Excluded(key) => Some(key.clone()),
        };
        // Mostly ranges that have something in them, now and then none at all.
        if let (Some(a), Some(b)) = (inner(&start), inner(&end))
            && a > b
            && !self.rng.one_in(6)
        {
            std::mem::swap(&mut start, &mut end);
        }
        (start, end)
    }

    fn small_bounds(&mut self) -> Bounds {
        let mut keys = self.keys.clone();
        keys.sort();
        let at = self.rng.below(keys.len() as u64) as usize;
        let to = (at + 1 + self.rng.below(8) as usize).min(keys.len() - 1);
        (
            Bound::Included(keys[at].clone()),
            Bound::Excluded(keys[to].clone()),
        )
    }

    fn name(&mut self) -> Vec<u8> {
        match self.rng.below(60) {
            0 => Vec::new(),
            1 => vec![b'n'; 256],
            _ => self.rng.pick(&self.names).clone(),
        }
    }

    /// Where the next operation happens: mostly in a bucket that is there.
    fn place(&mut self, model: &Model) -> Vec<Vec<u8>> {
        let paths = model.paths();
        let mut path = if self.rng.one_in(2) {
            Vec::new()
        } else {
            self.rng.pick(&paths).clone()
        };
        if self.rng.one_in(40) {
            path.push(self.name());
        }
        path
    }

    pub(crate) fn op(&mut self, model: &Model, saves: usize) -> Op {
        if self.rng.one_in(25) {
            return Op::Save;
        }
        if saves > 0 && self.rng.one_in(20) {
            return Op::Back(self.rng.below(saves as u64) as usize);
        }
        if self.rng.one_in(3) {
            return self.read(model);
        }
        let place = self.place(model);
        let depth = place.len();
        let existing = model.at(&place).cloned().unwrap_or_default();
        let what = self.write(&existing, depth);
        Op::In(place, what)
    }

    fn write(&mut self, here: &Model, depth: usize) -> Do {
        let key = self.key();
        match self.rng.below(56) {
            0..=15 => Do::Put(key, self.value(), Life::Ever),
            16..=17 => Do::Put(key, self.value(), Life::Long),
            18 if self.ghosts => Do::Put(key, self.value(), Life::Over),
            18..=19 => Do::Stream(key, self.value()),
            20..=21 => {
                let many = self.rng.below(30);
                Do::Batch((0..many).map(|_| (self.good_key(), self.value())).collect())
            }
            22..=23 => Do::PutIfAbsent(self.good_key(), self.value()),
            24..=25 => {
                let key = self.good_key();
                let was = here.pairs.get(&key).map(|v| v.bytes.to_vec());
                let was = if self.rng.one_in(4) {
                    Some(self.value())
                } else {
                    was
                };
                let is = (!self.rng.one_in(4)).then(|| self.value());
                Do::Swap(key, was, is)
            }
            26..=28 => Do::Update(self.good_key(), vec![b'a' + self.rng.below(2) as u8; 3]),
            29..=32 => {
                let operand_len = self.rng.below(300) as usize;
                let operand = self.rng.bytes(operand_len);
                Do::Merge(key, *self.rng.pick(&OPERATORS), operand)
            }
            33..=38 => Do::Delete(self.good_key()),
            39..=42 => Do::Discard(key),
            43..=44 => Do::DeleteRange(self.small_bounds()),
            45 => Do::DeleteRange(self.bounds()),
            46..=47 if depth < 6 => Do::Create(self.name()),
            46..=49 if depth < 6 => Do::CreateIfAbsent(self.name()),
            50 => Do::DeleteBucket(self.name()),
            51 => Do::Rename(self.name(), self.name()),
            _ => Do::NextSequence,
        }
    }

    pub(crate) fn read(&mut self, model: &Model) -> Op {
        let place = self.place(model);
        let what = match self.rng.below(18) {
            0..=4 => Do::Get(self.key()),
            5 => Do::GetStreamed(self.good_key()),
            6 => Do::GetMany((0..self.rng.below(20)).map(|_| self.good_key()).collect()),
            7 => Do::Ttl(self.good_key()),
            8 => Do::Len,
            9 => Do::First,
            10 => Do::Last,
            11..=12 => {
                let ends = self.ends();
                Do::Scan(self.bounds(), ends)
            }
            13 => {
                let ends = self.ends();
                Do::Scan(self.small_bounds(), ends)
            }
            14 => {
                let mut prefix = self.good_key();
                prefix.truncate(self.rng.below(6) as usize);
                Do::Prefix(prefix)
            }
            15..=16 => Do::Walk((0..1 + self.rng.below(30)).map(|_| self.step()).collect()),
            _ if self.rng.one_in(2) => Do::Sequence,
            _ => Do::Buckets,
        };
        Op::In(place, what)
    }

    fn ends(&mut self) -> Vec<bool> {
        let many = 1 + self.rng.below(60);
        let way = self.rng.below(3);
        let end = |g: &mut Generator| match way {
            0 => true,
            1 => false,
            _ => g.rng.one_in(2),
        };
        (0..many).map(|_| end(self)).collect()
    }

    fn step(&mut self) -> Move {
        match self.rng.below(12) {
            0 => Move::First,
            1 => Move::Last,
            2..=5 => Move::Next,
            6..=9 => Move::Prev,
            10 => Move::Seek(self.good_key()),
            _ => Move::SeekForPrev(self.good_key()),
        }
    }
}

/// A page size, mostly a small one.
pub(crate) fn page_size(rng: &mut Rng) -> PageSize {
    if rng.one_in(2) {
        PageSize::Size4K
    } else {
        *rng.pick(&PageSize::ALL)
    }
}

/// Options that make everything happen soon.
pub(crate) fn options(rng: &mut Rng, page: PageSize) -> DatabaseOptions {
    let bytes = page.bytes() as u64;
    let transaction = match rng.below(3) {
        0 => bytes * (1 + rng.below(8)),
        _ => 1 << 20,
    };
    let bulk = *rng.pick(&[1, 2000, 100_000, 1 << 20]);
    let wal = !rng.one_in(4);
    let sync = if rng.one_in(3) {
        SyncPolicy::None
    } else {
        SyncPolicy::Immediate
    };
    let mut options = with_operators(DatabaseOptions::new())
        .page_size(page)
        .wal(wal)
        .sync(sync)
        .wal_segment_bytes(*rng.pick(&[4096, 10_000, 1 << 20]))
        .checkpoint_wal_bytes(*rng.pick(&[4096, 50_000, 1 << 20]))
        .dirty_bytes_max(bytes * *rng.pick(&[64, 100, 1000]))
        .cache_bytes(bytes * *rng.pick(&[64, 1000]))
        .transaction_bytes_max(transaction)
        .bulk_bytes(bulk.min(transaction))
        .mmap(rng.one_in(2))
        .secure_memory(rng.one_in(4))
        .bloom_bits_per_key(*rng.pick(&[0, 10]))
        .background(false);
    if rng.one_in(3) {
        options = options.overflow_threshold(*rng.pick(&[0, 10, 500]));
    }
    options
}

pub(crate) fn with_operators(options: DatabaseOptions) -> DatabaseOptions {
    options
        .merge_operator("append", model::append)
        .merge_operator("add", model::add)
        .merge_operator("toggle", model::toggle)
}
