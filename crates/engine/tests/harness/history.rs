//! Short histories whose state is known after each commit, so that what is found after a crash or a failure can be placed.

use std::sync::Arc;

use weald_engine::{Database, DatabaseOptions, Error, PageSize, SyncPolicy};
use weald_vfs::Vfs;

use crate::compare::{check, dump};
use crate::generate::{Generator, options, page_size};
use crate::model::Model;
use crate::op::{Ideal, Op, Real};
use crate::seed::{Rng, asked};

/// Where the database is on a simulated disk.
pub(crate) const PATH: &str = "/db";

#[derive(Debug)]
pub(crate) enum Step {
    Commit {
        ops: Vec<Op>,
        policy: SyncPolicy,
        optimistic: bool,
    },
    RollBack(Vec<Op>),
    Checkpoint,
    Flush,
    Collect,
    Reopen,
}

/// A history to be played.
pub(crate) struct Script {
    pub(crate) options: DatabaseOptions,
    pub(crate) logged: bool,
    pub(crate) page: PageSize,
    pub(crate) steps: Vec<Step>,
    /// The state after each commit; the first one is empty.
    pub(crate) models: Vec<Arc<Model>>,
}

/// How far a script came.
#[derive(Debug, Default)]
pub(crate) struct Played {
    /// Commits that must survive a power cut.
    pub(crate) durable: usize,
    /// Commits that returned.
    pub(crate) committed: usize,
    /// Commits that were tried.
    pub(crate) tried: usize,
    /// Why it came no further.
    pub(crate) error: Option<Error>,
}

impl Script {
    pub(crate) fn new(seed: u64, steps: usize, value_max: usize) -> Script {
        let mut rng = Rng::new(seed);
        let page = page_size(&mut rng);
        let options = options(&mut rng, page).mmap(false);
        let key_max = page.bytes() / 4 - 80;
        let keys = *rng.pick(&[6, 40, 150]);
        let mut g = Generator::new(rng.next(), keys, key_max, value_max);
        let mut models = vec![Arc::new(Model::default())];
        let mut list = Vec::new();
        let mut ideal = Ideal::new(&models[0], key_max);
        for _ in 0..steps {
            let step = match g.rng.below(16) {
                0 => Step::Checkpoint,
                1 => Step::Flush,
                2 if g.rng.one_in(3) => Step::Collect,
                3 => Step::Reopen,
                kind => {
                    let mut draft = Ideal::new(&ideal.model, key_max);
                    let many = 1 + g.rng.below(*g.rng.clone().pick(&[2, 6, 25]));
                    let mut ops = Vec::new();
                    for _ in 0..many {
                        let op = g.op(&draft.model, draft.saves());
                        draft.run(&op);
                        ops.push(op);
                    }
                    if kind == 4 {
                        Step::RollBack(ops)
                    } else {
                        ideal = Ideal::new(&draft.model, key_max);
                        models.push(Arc::new(draft.model));
                        let policy = if g.rng.one_in(3) {
                            SyncPolicy::None
                        } else {
                            SyncPolicy::Immediate
                        };
                        let optimistic = g.rng.one_in(4);
                        Step::Commit {
                            ops,
                            policy,
                            optimistic,
                        }
                    }
                }
            };
            list.push(step);
        }
        Script {
            logged: !format!("{options:?}").contains("wal: false"),
            // Optimistic transactions stay in memory, and must fit.
            options: options.transaction_bytes_max(4 << 20),
            page,
            steps: list,
            models,
        }
    }

    pub(crate) fn open(&self, vfs: Arc<dyn Vfs>) -> Result<Database, Error> {
        Database::open_with_options(PATH, self.options.clone().vfs(vfs))
    }

    /// Plays the script until something fails.
    pub(crate) fn play(&self, vfs: &Arc<dyn Vfs>) -> Played {
        let mut played = Played::default();
        if let Err(e) = self.try_play(vfs, &mut played) {
            played.error = Some(e);
        }
        played
    }

    fn try_play(&self, vfs: &Arc<dyn Vfs>, played: &mut Played) -> Result<(), Error> {
        let mut db = self.open(Arc::clone(vfs))?;
        for step in &self.steps {
            if asked("WEALD_TRACE").is_some() {
                let step: String = format!("{step:?}").chars().take(300).collect();
                eprintln!("{played:?}: {step}");
            }
            match step {
                Step::Reopen => {
                    db.close()?;
                    played.durable = played.committed;
                    db = self.open(Arc::clone(vfs))?;
                }
                step => self.step(&db, step, played)?,
            }
        }
        Ok(())
    }

    /// One step other than opening anew.
    pub(crate) fn step(&self, db: &Database, step: &Step, played: &mut Played) -> Result<(), Error> {
        match step {
            Step::Commit {
                ops,
                policy,
                optimistic,
            } => {
                let before = db.read()?.txid();
                let done = if *optimistic {
                    let mut real = Real::new(db.optimistic()?);
                    ops.iter().try_for_each(|op| real.run(op).map(drop))?;
                    played.tried = played.committed + 1;
                    real.tx.commit_with(*policy)?
                } else {
                    let mut real = Real::new(db.write()?);
                    ops.iter().try_for_each(|op| real.run(op).map(drop))?;
                    played.tried = played.committed + 1;
                    real.tx.commit_with(*policy)?
                };
                played.committed += 1;
                // One that came to write nothing waits for nothing.
                if *policy == SyncPolicy::Immediate && done.txid > before {
                    played.durable = played.committed;
                }
            }
            Step::RollBack(ops) => {
                let mut real = Real::new(db.write()?);
                ops.iter().try_for_each(|op| real.run(op).map(drop))?;
                real.tx.rollback();
            }
            Step::Checkpoint => {
                db.checkpoint()?;
                played.durable = played.committed;
            }
            Step::Flush => {
                db.flush()?;
                played.durable = played.committed;
            }
            Step::Collect => drop(db.collect_expired()?),
            Step::Reopen => unreachable!("the caller has the handle"),
        }
        Ok(())
    }

    /// Which of the states `from` to `to` the database has; the latest of them, where it is in doubt.
    pub(crate) fn place(&self, db: &Database, from: usize, to: usize) -> Result<usize, String> {
        let tx = db.read().map_err(|e| e.to_string())?;
        let found = dump(&tx).map_err(|e| format!("reading failed: {e}"))?;
        if let Some(place) = (from..=to).rev().find(|&n| *self.models[n] == found) {
            return Ok(place);
        }
        let other = (0..self.models.len()).find(|&n| *self.models[n] == found);
        Err(match other {
            Some(n) => format!("it is as after commit {n}, not {from} to {to}"),
            None => format!(
                "it is as after no commit; compared with {to}: {}",
                found.difference(&self.models[to])
            ),
        })
    }

    /// Writes to a database that has state `place`, opens it once more, and sees that everything is there.
    pub(crate) fn go_on(
        &self,
        db: Database,
        vfs: Arc<dyn Vfs>,
        place: usize,
        seed: u64,
    ) -> Result<(), String> {
        let failed = |what: &'static str| move |e: Error| format!("{what} failed: {e}");
        let key_max = db.key_len_max();
        let mut g = Generator::new(seed, 30, key_max, 20_000);
        let mut model = Model::clone(&self.models[place]);
        // States that look the same may differ in what has expired.
        self.models.iter().for_each(|other| model.haunt(other));
        for _ in 0..3 {
            let mut real = Real::new(db.write().map_err(failed("writing"))?);
            let mut ideal = Ideal::new(&model, key_max);
            for _ in 0..4 {
                let op = g.op(&ideal.model, ideal.saves());
                let answer = real.run(&op).map_err(failed("an operation"))?;
                let must = ideal.run(&op);
                if !answer.agrees(&must) {
                    return Err(format!(
                        "{op:?} answered {}, not {}",
                        answer.brief(),
                        must.brief()
                    ));
                }
            }
            real.tx.commit().map_err(failed("a commit"))?;
            model = ideal.model;
        }
        db.close().map_err(failed("closing"))?;
        let db = self.open(vfs).map_err(failed("opening again"))?;
        let tx = db.read().map_err(failed("reading"))?;
        check(&tx, &model, &mut Rng::new(seed)).map_err(|e| format!("after going on: {e}"))
    }
}
