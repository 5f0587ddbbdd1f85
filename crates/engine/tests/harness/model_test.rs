//! Long random histories against the model: all operations, both kinds of writing transactions, snapshots that stay open, checkpoints,
//! closing and opening with other options.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use weald_engine::{Database, DatabaseOptions, Error, OptimisticTx, PageSize, ReadTx, SyncPolicy};
use weald_vfs::{SimDisk, SimOptions};

use crate::accounting::check_empties;
use crate::compare::check;
use crate::generate::{Generator, options, page_size};
use crate::model::Model;
use crate::op::{Answer, Ideal, Op, Real, look};
use crate::seed::{Rng, each_seed};

#[test]
fn random_histories_agree_with_the_model() {
    each_seed("model", 40, Duration::from_secs(20), |seed| {
        History::new(seed).run(4, 60);
    });
}

#[test]
fn random_histories_with_a_background_thread_agree_with_the_model() {
    each_seed("model with threads", 12, Duration::from_secs(8), |seed| {
        let mut history = History::new(seed ^ 0xbac);
        history.background = true;
        history.run(3, 60);
    });
}

/// A fresh directory, in memory where the system has such.
pub(crate) fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.expect("a temporary directory")
}

/// Where a history happens.
enum Ground {
    Real(tempfile::TempDir),
    Simulated(SimDisk),
}

struct History {
    g: Generator,
    page: PageSize,
    key_max: usize,
    ground: Ground,
    model: Arc<Model>,
    background: bool,
    long_lived: u64,
}

/// An optimistic transaction that is open while others commit.
struct Open<'db> {
    real: Real<OptimisticTx<'db>>,
    ideal: Ideal,
    log: Vec<(Op, Answer)>,
    /// Commits that were there when it began.
    began: u64,
}

impl History {
    fn new(seed: u64) -> History {
        let mut rng = Rng::new(seed);
        let page = page_size(&mut rng);
        let key_max = page.bytes() / 4 - 80;
        let keys = *rng.pick(&[8, 60, 400]);
        let ground = if rng.one_in(3) {
            Ground::Simulated(SimDisk::new(
                seed,
                SimOptions {
                    short_io_one_in: 7,
                    interrupt_one_in: 11,
                    ..SimOptions::default()
                },
            ))
        } else {
            Ground::Real(directory())
        };
        History {
            g: Generator::new(rng.next(), keys, key_max, 300_000),
            page,
            key_max,
            ground,
            model: Arc::new(Model::default()),
            background: false,
            long_lived: 0,
        }
    }

    fn run(&mut self, sessions: u64, events: u64) {
        for _ in 0..sessions {
            let (options, wal) = self.options();
            let db = Database::open_with_options(self.path(), options).expect("opening");
            let rng = &mut self.g.rng;
            check(&db.read().unwrap(), &self.model, rng).expect("after opening");
            assert_eq!(db.key_len_max(), self.key_max);
            self.session(&db, events);
            check(&db.read().unwrap(), &self.model, &mut self.g.rng).expect("before closing");
            self.end(db, wal);
        }
        let (options, _) = self.options();
        let db = Database::open_with_options(self.path(), options).expect("opening");
        check(&db.read().unwrap(), &self.model, &mut self.g.rng).expect("at the end");
        check_empties(&db, self.long_lived).expect("space");
    }

    fn path(&self) -> PathBuf {
        match &self.ground {
            Ground::Real(dir) => dir.path().join("db"),
            Ground::Simulated(_) => "/db".into(),
        }
    }

    /// Options, and whether they have a log.
    fn options(&mut self) -> (DatabaseOptions, bool) {
        let mut options = options(&mut self.g.rng, self.page);
        if self.background {
            options = options
                .background(true)
                .checkpoint_interval(Duration::from_millis(20));
        }
        if let Ground::Simulated(disk) = &self.ground {
            options = options.vfs(Arc::new(disk.clone()));
        }
        let wal = !format!("{options:?}").contains("wal: false");
        (options, wal)
    }

    /// Ends a session: properly, by dropping the handle, or as if the process had been killed.
    fn end(&mut self, db: Database, wal: bool) {
        match self.g.rng.below(3) {
            0 => db.close().expect("closing"),
            1 => drop(db),
            _ => {
                let Ground::Simulated(disk) = &self.ground else {
                    return drop(db);
                };
                if wal {
                    let killed = disk.after_kill();
                    // The rest of this session must not reach the disk that goes on.
                    drop(db);
                    self.ground = Ground::Simulated(killed.clone());
                    let options = options(&mut self.g.rng, self.page)
                        .wal(true)
                        .vfs(Arc::new(killed));
                    let db = Database::open_with_options("/db", options).expect("opening after a kill");
                    check(&db.read().unwrap(), &self.model, &mut self.g.rng).expect("after a kill");
                    db.close().expect("closing");
                }
            }
        }
    }

    fn session(&mut self, db: &Database, events: u64) {
        let mut commits = 0;
        let mut snapshots: Vec<(ReadTx<'_>, Arc<Model>)> = Vec::new();
        let mut open: Vec<Open<'_>> = Vec::new();
        for _ in 0..events {
            match self.g.rng.below(30) {
                0..=9 => commits += u64::from(self.write(db)),
                10..=12 if open.len() < 4 => open.push(Open {
                    real: Real::new(db.optimistic().unwrap()),
                    ideal: Ideal::new(&self.model, self.key_max),
                    log: Vec::new(),
                    began: commits,
                }),
                10..=17 if !open.is_empty() => {
                    let index = self.g.rng.below(open.len() as u64) as usize;
                    if !self.step(&mut open[index]) {
                        open.remove(index);
                    }
                }
                18..=19 if !open.is_empty() => {
                    let index = self.g.rng.below(open.len() as u64) as usize;
                    commits += u64::from(self.finish(db, open.remove(index), commits));
                }
                20 => snapshots.push((db.read().unwrap(), Arc::clone(&self.model))),
                21..=22 if !snapshots.is_empty() => {
                    let index = self.g.rng.below(snapshots.len() as u64) as usize;
                    let (tx, model) = &snapshots[index];
                    check(tx, model, &mut self.g.rng).expect("an old snapshot");
                    if self.g.rng.one_in(2) {
                        snapshots.remove(index);
                    }
                }
                23 => {
                    db.checkpoint().expect("a checkpoint");
                }
                24 => db.flush().expect("a flush"),
                25 if self.g.rng.one_in(3) => self.collect(db),
                26 => {
                    let stats = db.stats();
                    assert!(
                        stats.free_bytes + stats.pending_bytes <= stats.file_bytes,
                        "{stats:?}"
                    );
                }
                _ => {
                    let op = self.g.read(&self.model);
                    let Op::In(name, what) = &op else { unreachable!() };
                    let answer = look(&db.read().unwrap(), name, what).expect("a read");
                    let ideal = Ideal::new(&self.model, self.key_max).run(&op);
                    agree(&op, &answer, &ideal);
                }
            }
        }
        for (tx, model) in &snapshots {
            check(tx, model, &mut self.g.rng).expect("an old snapshot");
        }
    }

    fn policy(&mut self) -> SyncPolicy {
        if self.g.rng.one_in(2) {
            SyncPolicy::Immediate
        } else {
            SyncPolicy::None
        }
    }

    /// One exclusive transaction; whether it committed anything.
    fn write(&mut self, db: &Database) -> bool {
        let mut real = Real::new(db.write().unwrap());
        let mut ideal = Ideal::new(&self.model, self.key_max);
        for _ in 0..self.g.rng.below(*self.g.rng.clone().pick(&[3, 10, 60])) {
            let op = self.g.op(&ideal.model, ideal.saves());
            self.note(&op);
            let answer = real.run(&op).unwrap_or_else(|e| panic!("{op:?}: {e}"));
            agree(&op, &answer, &ideal.run(&op));
        }
        if self.g.rng.one_in(3) {
            check(&real.tx, &ideal.model, &mut self.g.rng).expect("a transaction's own writes");
        }
        match self.g.rng.below(6) {
            0 => real.tx.rollback(),
            1 => drop(real),
            2..=3 => {
                real.tx.commit().expect("a commit");
                self.model = Arc::new(ideal.model);
                return true;
            }
            _ => {
                let policy = self.policy();
                real.tx.commit_with(policy).expect("a commit");
                self.model = Arc::new(ideal.model);
                return true;
            }
        }
        false
    }

    fn note(&mut self, op: &Op) {
        if let Op::In(_, crate::op::Do::Put(_, _, crate::op::Life::Long)) = op {
            self.long_lived += 1;
        }
    }

    /// One operation of an optimistic transaction; `false` if it has grown too large and must go.
    fn step(&mut self, open: &mut Open<'_>) -> bool {
        let op = self.g.op(&open.ideal.model, open.ideal.saves());
        self.note(&op);
        let answer = match open.real.run(&op) {
            Ok(answer) => answer,
            Err(Error::TooLarge(_)) => return false,
            Err(e) => panic!("{op:?}: {e}"),
        };
        agree(&op, &answer, &open.ideal.run(&op));
        open.log.push((op, answer));
        true
    }

    /// Commits an optimistic transaction. What it did must be what it would have done now, alone.
    fn finish(&mut self, db: &Database, open: Open<'_>, commits: u64) -> bool {
        let policy = self.policy();
        let before = db.read().unwrap().txid();
        let committed = match open.real.tx.commit_with(policy) {
            Err(Error::Conflict) => {
                assert_ne!(open.began, commits, "a conflict with nobody");
                return false;
            }
            committed => committed.expect("an optimistic commit"),
        };
        if committed.txid <= before {
            // It came to write nothing, and is as of its beginning.
            return false;
        }
        let mut now = Ideal::new(&self.model, self.key_max);
        for (op, answer) in &open.log {
            let again = now.run(op);
            assert!(
                answer.agrees(&again),
                "{op:?} answered {} in a transaction that was committed, and would now answer {}",
                answer.brief(),
                again.brief()
            );
        }
        self.model = Arc::new(now.model);
        true
    }

    fn collect(&mut self, db: &Database) {
        db.collect_expired().expect("collecting what has expired");
        let mut model = Model::clone(&self.model);
        model.lay_ghosts();
        self.model = Arc::new(model);
    }
}

fn agree(op: &Op, answer: &Answer, ideal: &Answer) {
    if !answer.agrees(ideal) {
        let op: String = format!("{op:?}").chars().take(600).collect();
        panic!("{op} answered {}, not {}", answer.brief(), ideal.brief());
    }
}
