//! Calls to the file system that fail: typed errors, nothing acknowledged is lost, and where the disk was only full, on it goes.

use std::sync::Arc;
use std::time::Duration;

use weald_engine::{Database, Error};
use weald_vfs::{Call, Fault, FaultKind, SimDisk, SimOptions, Vfs};

use crate::accounting::check_empties;
use crate::history::{Played, Script, Step};
use crate::seed::{Rng, each_seed, is_exhaustive};

const CALLS: [Call; 7] = [
    Call::Open,
    Call::Read,
    Call::Write,
    Call::Resize,
    Call::Sync,
    Call::Name,
    Call::SyncDir,
];

#[test]
fn any_call_that_fails_once_costs_nothing_that_was_acknowledged() {
    each_seed("faults", 30, Duration::from_secs(8), |seed| {
        let script = Script::new(seed, 14, 40_000);
        let mut rng = Rng::new(seed);
        for call in CALLS {
            let calls = calls(&script, seed, call);
            let samples = if is_exhaustive() { calls } else { calls.min(8) };
            for sample in 0..samples {
                let nth = if samples == calls {
                    sample
                } else {
                    rng.below(calls)
                };
                let failed = fail_once(&script, seed, call, nth);
                failed.unwrap_or_else(|e| panic!("{call:?} {nth} fails: {e}"));
            }
        }
    });
}

#[test]
fn calls_that_are_interrupted_or_cut_short_are_made_again() {
    each_seed("interruptions", 5, Duration::from_secs(2), |seed| {
        let script = Script::new(seed, 10, 40_000);
        let options = SimOptions {
            interrupt_one_in: 2,
            short_io_one_in: 2,
            ..SimOptions::default()
        };
        let vfs: Arc<dyn Vfs> = Arc::new(SimDisk::new(seed, options));
        let played = script.play(&vfs);
        assert!(played.error.is_none(), "{played:?}");
    });
}

#[test]
fn a_full_disk_is_waited_out() {
    each_seed("full disk", 30, Duration::from_secs(8), |seed| {
        let script = Script::new(seed, 14, 40_000);
        let whole = SimDisk::new(seed, SimOptions::default());
        assert!(
            script
                .play(&(Arc::new(whole.clone()) as Arc<dyn Vfs>))
                .error
                .is_none()
        );
        let mut rng = Rng::new(seed);
        let mut full = 0;
        for _ in 0..if is_exhaustive() { 200 } else { 8 } {
            let space = rng.below(whole.used().max(8192) * 3 / 2);
            let filled = fill(&script, seed, space, &mut rng);
            full += filled.unwrap_or_else(|e| panic!("with room for {space} bytes: {e}"));
        }
        assert!(full > 0, "the disk was never full");
    });
}

/// A script being played, with a database that is closed only while opening it fails.
struct Session<'s> {
    script: &'s Script,
    vfs: Arc<dyn Vfs>,
    db: Option<Database>,
    played: Played,
}

impl Session<'_> {
    fn db(&mut self) -> Result<&Database, Error> {
        if self.db.is_none() {
            self.db = Some(self.script.open(Arc::clone(&self.vfs))?);
        }
        Ok(self.db.as_ref().expect("opened just now"))
    }

    fn step(&mut self, step: &Step) -> Result<(), Error> {
        if let Step::Reopen = step {
            if let Some(db) = self.db.take() {
                db.close()?;
                self.played.durable = self.played.committed;
            }
            return self.db().map(drop);
        }
        self.db()?;
        let db = self.db.as_ref().expect("opened just now");
        self.script.step(db, step, &mut self.played)
    }

    /// That a failed step has changed nothing.
    fn unchanged(&mut self) -> Result<(), String> {
        let committed = self.played.committed;
        let Some(db) = &self.db else { return Ok(()) };
        self.script
            .place(db, committed, committed)
            .map(drop)
            .map_err(|e| format!("a failed step has changed something: {e}"))
    }
}

fn fail_once(script: &Script, seed: u64, call: Call, nth: u64) -> Result<(), String> {
    let disk = SimDisk::new(seed, SimOptions::default());
    disk.inject(Fault::new(call, FaultKind::Io).after(nth));
    let mut session = Session {
        script,
        vfs: Arc::new(disk.clone()),
        db: None,
        played: Played::default(),
    };
    let mut found = Vec::new();
    for step in &script.steps {
        let Err(e) = session.step(step) else { continue };
        typed(&e)?;
        let (durable, tried) = (session.played.durable, session.played.tried);
        found.push(("after a power cut", disk.after_crash(seed ^ nth), durable, tried));
        if let (Error::Poisoned(_), Some(db)) = (&e, &session.db) {
            if !matches!(db.write().map(drop), Err(Error::Poisoned(_))) {
                return Err("a poisoned database takes a transaction".into());
            }
            script
                .place(db, 0, tried)
                .map_err(|e| format!("reading after {e}: {e}"))?;
            break;
        }
        if session.db.is_none() {
            // A close that failed: anything of what was tried may be there.
            break;
        }
        session.unchanged()?;
        session
            .step(step)
            .map_err(|again| format!("{e}, and again: {again}"))?;
    }
    let (durable, committed, tried) = (
        session.played.durable,
        session.played.committed,
        session.played.tried,
    );
    drop(session);
    disk.clear_faults();
    // Without a power cut nothing that the log has is lost; but a failed flush may drop what it was about.
    let least = if script.logged && call != Call::Sync {
        committed
    } else {
        durable
    };
    found.push(("after the process ended", disk, least, tried));
    for (what, disk, durable, tried) in found {
        let say = |e: String| format!("{what}, with commits {durable} to {tried}: {e}");
        let vfs: Arc<dyn Vfs> = Arc::new(disk);
        let db = script
            .open(Arc::clone(&vfs))
            .map_err(|e| say(format!("opening failed: {e}")))?;
        let place = script.place(&db, durable, tried.max(durable)).map_err(say)?;
        script.go_on(db, vfs, place, seed).map_err(say)?;
    }
    Ok(())
}

/// How many calls of one kind a script makes.
fn calls(script: &Script, seed: u64, call: Call) -> u64 {
    let options = SimOptions {
        history: true,
        ..SimOptions::default()
    };
    let disk = SimDisk::new(seed, options);
    drop(script.play(&(Arc::new(disk.clone()) as Arc<dyn Vfs>)));
    match call {
        // These change nothing and are not in the history.
        Call::Read => 60,
        Call::Open => 20,
        call => {
            let name = format!(": {call:?} ");
            disk.history().iter().filter(|line| line.contains(&name)).count() as u64
        }
    }
}

fn typed(e: &Error) -> Result<(), String> {
    match e {
        Error::Io(_) | Error::DiskFull { .. } => Ok(()),
        Error::Poisoned(cause) => typed(cause),
        e => Err(format!("the error is of another kind: {e:?}")),
    }
}

/// Plays on a disk with little room. Whatever does not fit is done once there is room, without opening anew.
/// Gives how often it was full.
fn fill(script: &Script, seed: u64, space: u64, rng: &mut Rng) -> Result<u64, String> {
    let disk = SimDisk::new(seed, SimOptions::default());
    disk.set_space(Some(space));
    let mut session = Session {
        script,
        vfs: Arc::new(disk.clone()),
        db: None,
        played: Played::default(),
    };
    let mut full = 0;
    for (n, step) in script.steps.iter().enumerate() {
        let Err(e) = session.step(step) else { continue };
        full += 1;
        let say = |what: String| format!("step {n} ({e}): {what}");
        if !matches!(e, Error::DiskFull { .. }) {
            return Err(say("the error is of another kind".into()));
        }
        session.unchanged().map_err(say)?;
        disk.set_space(None);
        session
            .step(step)
            .map_err(|again| say(format!("there is room, but: {again}")))?;
        session.unchanged().map_err(say)?;
        disk.set_space(Some(disk.used() + rng.below(100_000)));
    }
    disk.set_space(None);
    let committed = session.played.committed;
    if session.db.is_none() {
        session.db().map_err(|e| format!("opening at the end: {e}"))?;
    }
    let db = session.db.take().expect("opened just now");
    script.place(&db, committed, committed)?;
    db.close().map_err(|e| format!("closing: {e}"))?;
    let db = script
        .open(Arc::new(disk))
        .map_err(|e| format!("opening again: {e}"))?;
    script.place(&db, committed, committed)?;
    let mortal = script
        .models
        .iter()
        .map(|m| m.pairs.values().filter(|v| v.mortal).count());
    check_empties(&db, mortal.sum::<usize>() as u64)?;
    Ok(full)
}
