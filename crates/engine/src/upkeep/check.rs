//! Checks everything that a database consists of.
//!
//! ```text
//!  settled      one commit, pinned, and what the space says as of it     a moment under the locks
//!  Walk         the trees: pages, order, counts, large values, names      beside everybody
//!  balance      every page is somebody's, and one's only
//!  log          the meta pages and the log's segments                     while no checkpoint is made
//! ```
//!
//! Memory: a bit for each page, the extents of free pages, and the numbers of the buckets.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use weald_vfs::Vfs;

use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::Lsn;
use crate::meta::{self, Meta};
use crate::options::DatabaseOptions;
use crate::recovery;
use crate::roots::Roots;
use crate::store::{Extent, PageStore, Pin, Space, Survey};
use crate::upkeep::accounting::{PageSet, balance};
use crate::upkeep::progress::Meter;
use crate::upkeep::raw::RawFile;
use crate::upkeep::report::{CheckReport, Place};
use crate::upkeep::walk::Walk;
use crate::wal::{Record, Wal, WalConfig};

/// How often to look for a moment in which all commits are visible, before writers are held back for one.
const PATIENCE: u32 = 100;

/// A commit and all that there is beside its trees.
struct Settled<'c> {
    pin: Pin<'c>,
    roots: Roots,
    survey: Survey,
    lists: Vec<Extent>,
}

pub(crate) fn check(core: &Core, meter: &mut Meter<'_>) -> Result<CheckReport> {
    let settled = settled(core)?;
    meter.set_total(settled.survey.end.saturating_sub(pages_of(&settled.survey)));
    let mut report = CheckReport::default();
    let used = check_trees(
        &core.store,
        &settled.pin,
        &settled.roots,
        settled.survey.end,
        meter,
        &mut report,
    )?;
    report.free_pages = pages_of(&settled.survey);
    if report.problems.is_empty() {
        // What could not be read would show as lost pages.
        balance(&used, &settled.survey, &settled.lists, |extent, what| {
            let place = Place::Pages {
                first: extent.start,
                count: extent.len,
            };
            report.problem(place, what);
        });
    }
    drop(settled);
    check_metas_and_log(core, &mut report)?;
    meter.finish()?;
    Ok(report)
}

/// Checks a file that nobody has open; what keeps it from being opened is a problem like others.
pub(crate) fn check_file(
    path: &Path,
    vfs: &Arc<dyn Vfs>,
    options: DatabaseOptions,
    meter: &mut Meter<'_>,
) -> Result<CheckReport> {
    let options = options.read_only(true).background(false);
    let why = match recovery::open(path, Arc::clone(vfs), options.clone()) {
        Ok(core) => return check(&core, meter),
        Err(e @ Error::Corrupt(_)) => e,
        Err(e) => return Err(e),
    };
    let mut report = CheckReport::default();
    report.problem(Place::File, why.to_string());
    let raw = RawFile::open(path, vfs)?;
    let Some(meta) = raw.metas.first() else {
        return Ok(report);
    };
    let file = raw.page_file(meta.page_size)?;
    let end = meta.end.min(file.pages());
    let store = PageStore::new(
        file,
        Space::new(end, &[]),
        options.dirty_bytes_max,
        options.cache_bytes,
    );
    let (pin, _) = store.readers.pin(|| (meta.roots.txid, ()));
    meter.set_total(end);
    check_trees(&store, &pin, &meta.roots, end, meter, &mut report)?;
    meter.finish()?;
    Ok(report)
}

fn check_trees(
    store: &PageStore,
    pin: &Pin<'_>,
    roots: &Roots,
    end: u64,
    meter: &mut Meter<'_>,
    report: &mut CheckReport,
) -> Result<PageSet> {
    report.txid = roots.txid;
    let mut walk = Walk::new(store.snapshot(pin), roots, end, meter, report);
    walk.all()?;
    let used = walk.into_used();
    report.pages = used.len();
    Ok(used)
}

fn pages_of(survey: &Survey) -> u64 {
    let extents = survey.free.iter().chain(&survey.pending);
    extents.map(|extent| extent.len).sum()
}

/// Waits for a moment in which the newest commit is visible, and takes it together with the state of the space.
fn settled(core: &Core) -> Result<Settled<'_>> {
    let mut gate = None;
    for attempt in 0.. {
        if let Some(settled) = try_settled(core) {
            return Ok(settled);
        }
        match &core.wal {
            Some(wal) => {
                wal.flush(wal.end())?;
                core.publish();
            }
            None => std::thread::sleep(Duration::from_micros(200)),
        }
        if attempt > PATIENCE && gate.is_none() {
            // Others commit without a pause, so the gate opens soon.
            gate = Some(core.gate.enter());
        }
        if attempt > 10 * PATIENCE {
            core.poison.check()?;
            break;
        }
    }
    let what = "commits stay invisible, so that no state can be taken";
    Err(Error::corrupt(&core.path, None, what))
}

fn try_settled(core: &Core) -> Option<Settled<'_>> {
    let checkpoints = core.checkpoints.lock().expect("no panic during a checkpoint");
    let state = core.state();
    let head = state.head;
    if core.published.txid() != head.txid {
        return None;
    }
    let (pin, roots) = core.store.readers.pin(|| (head.txid, head));
    let meta = &checkpoints.meta;
    Some(Settled {
        pin,
        roots,
        survey: core.store.space().survey(roots.txid),
        lists: vec![meta.free.extent, meta.filters.extent],
    })
}

/// Checks what only stays as it is while no checkpoint is made.
fn check_metas_and_log(core: &Core, report: &mut CheckReport) -> Result<()> {
    let checkpoints = core.checkpoints.lock().expect("no panic during a checkpoint");
    let meta = &checkpoints.meta;
    for index in 0..2u8 {
        let mut bytes = [0; meta::LEN];
        let offset = u64::from(index) * core.store.page_size() as u64;
        let place = Place::Meta { index };
        match core.store.file.read(&mut bytes, offset) {
            Err(e) => report.problem(place, e.to_string()),
            Ok(()) => match Meta::decode(&bytes) {
                // The second one is flushed with the next checkpoint only, so after a crash it may be an earlier one.
                Ok(found) if found.database == meta.database && found.checkpoint <= meta.checkpoint => {}
                Ok(_) => report.problem(place, "it is not one of this database's last two"),
                Err(_) => report.problem(place, "it is damaged; the other one is used"),
            },
        }
    }
    if let Some(wal) = &core.wal {
        check_log(core, wal, meta, report);
    }
    Ok(())
}

/// Reads the log as opening the database would. What was appended since it began may be half there and is no problem.
fn check_log(core: &Core, wal: &Wal, meta: &Meta, report: &mut CheckReport) {
    const ATTEMPTS: u32 = 3;
    let dir = recovery::log_dir(&core.path);
    for attempt in 1..=ATTEMPTS {
        let durable = wal.durable();
        let (mut seen, mut commits) = (Lsn(0), 0);
        let mut visit = |record: Record<'_>| {
            if let Record::Commit { end, batch, .. } = record {
                for op in batch.ops() {
                    op?;
                }
                seen = end;
                commits += 1;
            }
            Ok(())
        };
        let from = meta.replay_from();
        let config = WalConfig::new(0);
        let vfs = Arc::clone(&core.vfs);
        let read = Wal::open(vfs, &dir, config, core.database, from, true, &mut visit);
        report.log_commits = commits;
        match read {
            Err(e) if seen < durable => {
                // A file that was taken into use while the directory was read looks like a gap, but not again and again.
                if attempt == ATTEMPTS {
                    report.problem(Place::Log, e.to_string());
                }
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests;
