//! Looking at regions.

use std::path::PathBuf;

use clap::Args;
use weald::hot::{Error, Reader, Region, RegionInfo};

use super::failed;
use crate::cli::failure::Result;
use crate::cli::output::Output;
use crate::cli::{Outcome, text};

/// Tell what a region is
///
/// Only reads it, and doesn't join.
#[derive(Args, Debug)]
pub(super) struct Info {
    /// The region's file
    #[arg(value_hint = clap::ValueHint::FilePath)]
    path: PathBuf,
    /// Write one JSON object
    #[arg(long)]
    json: bool,
}

/// Tell what is in a region, and who has joined it
///
/// Only reads it, and doesn't join.
#[derive(Args, Debug)]
pub(super) struct Stat {
    /// The region's file
    #[arg(value_hint = clap::ValueHint::FilePath)]
    path: PathBuf,
    /// Write one JSON object, then one for each session
    #[arg(long)]
    json: bool,
}

/// Check every object, list and entry of a region
///
/// Cleans up after processes that have died, before. While others write it may take their half-done work for damage. Exits with 4 if something is wrong.
#[derive(Args, Debug)]
pub(super) struct Verify {
    /// The region's file
    #[arg(value_hint = clap::ValueHint::FilePath)]
    path: PathBuf,
    /// Write one JSON object
    #[arg(long)]
    json: bool,
}

/// Write all keys and values of a region
///
/// A line has a key, a tab and the value, both escaped as 'weald scan' does; those of an ordered region come in order. If the region has
/// views, all of it is of one instant.
#[derive(Args, Debug)]
pub(super) struct Dump {
    /// The region's file
    #[arg(value_hint = clap::ValueHint::FilePath)]
    path: PathBuf,
    /// Show keys and values in hexadecimal
    #[arg(short = 'x', long)]
    hex: bool,
    /// Write {"key":…,"value":…} a line; bytes that are not UTF-8 as {"hex":"00ff"}
    #[arg(long)]
    json: bool,
}

impl Info {
    pub(super) fn run(&self) -> Result<Outcome> {
        let failed = failed(&self.path);
        let info = Reader::open(&self.path)
            .and_then(|reader| reader.info())
            .map_err(failed)?;
        let mut out = Output::new();
        if self.json {
            out.json(false, |object| {
                object
                    .number("capacity", info.volumes_max * info.volume_size)?
                    .number("volume_size", info.volume_size)?
                    .number("page_size", info.page_size)?
                    .number("sessions_max", info.sessions_max)?
                    .truth("ordered", info.ordered)?
                    .truth("views", info.views)?
                    .number("cache_bytes", info.cache_bytes)?
                    .truth("passing", info.passing)?
                    .truth("persistent", info.persistent)
            })?;
        } else {
            describe(&mut out, &info)?;
        }
        out.finish()?;
        Ok(Outcome::Done)
    }
}

fn describe(out: &mut Output, info: &RegionInfo) -> Result<()> {
    out.line(format_args!(
        "up to {} in volumes of {}, pages of {}, {}",
        text::size(info.volumes_max * info.volume_size),
        text::size(info.volume_size),
        text::size(info.page_size),
        text::counted(info.sessions_max, "session"),
    ))?;
    let mut kinds = Vec::new();
    for (is_so, kind) in [
        (info.ordered, "ordered"),
        (info.views, "with views"),
        (info.passing, "goes with its last process"),
        (info.persistent, "has an image"),
    ] {
        if is_so {
            kinds.push(kind.to_owned());
        }
    }
    if info.cache_bytes > 0 {
        kinds.push(format!("a cache of {}", text::size(info.cache_bytes)));
    }
    if kinds.is_empty() {
        return Ok(());
    }
    out.line(kinds.join(", "))
}

impl Stat {
    pub(super) fn run(&self) -> Result<Outcome> {
        let failed = failed(&self.path);
        let reader = Reader::open(&self.path).map_err(&failed)?;
        let info = reader.info().map_err(&failed)?;
        let keys = reader.len().map_err(&failed)?;
        let members = reader.members().map_err(&failed)?;
        let used = (info.volumes - info.volumes_free) * info.volume_size;
        let mut out = Output::new();
        if self.json {
            out.json(false, |object| {
                object
                    .number("keys", keys)?
                    .number("used_bytes", used)?
                    .number("backed_bytes", info.volumes * info.volume_size)?
                    .number("capacity", info.volumes_max * info.volume_size)?
                    .number("sessions", info.sessions)?
                    .number("recoveries", info.recoveries)
            })?;
        } else {
            out.line(format_args!(
                "{}, {} of {} in use, {}, {} cleaned up",
                text::counted(keys, "key"),
                text::size(used),
                text::size(info.volumes_max * info.volume_size),
                text::counted(info.sessions, "session"),
                text::counted(info.recoveries, "dead session"),
            ))?;
        }
        for member in members {
            if self.json {
                out.json(false, |object| {
                    object
                        .text("name", &member.name)?
                        .number("pid", u64::from(member.pid))?
                        .truth("alive", member.alive)
                })?;
            } else {
                let dead = if member.alive { "" } else { ", dead" };
                let name = text::escape(member.name.as_bytes());
                out.line(format_args!("  {name} (process {}{dead})", member.pid))?;
            }
        }
        out.finish()?;
        Ok(Outcome::Done)
    }
}

impl Verify {
    pub(super) fn run(&self) -> Result<Outcome> {
        let failed = failed(&self.path);
        let region = Region::open(&self.path).map_err(&failed)?;
        let session = region.join("weald hot verify").map_err(&failed)?;
        session.recover().map_err(&failed)?;
        let report = session.verify().map_err(&failed)?;
        let mut out = Output::new();
        if self.json {
            out.json(false, |object| {
                object
                    .truth("sound", true)?
                    .number("keys", report.entries)?
                    .number("versions", report.versions)?
                    .number("nodes", report.nodes)?
                    .number("objects", report.objects)?
                    .number("volumes", report.volumes)?
                    .number("superblocks", report.superblocks)?
                    .number("held", report.held)?
                    .number("retired", report.retired)?
                    .number("free", report.free)
            })?;
        } else {
            out.line(format_args!(
                "sound: {} and {} in {}",
                text::counted(report.entries, "key"),
                text::counted(report.objects, "other object"),
                text::counted(report.volumes, "volume"),
            ))?;
        }
        out.finish()?;
        Ok(Outcome::Done)
    }
}

type Item = std::result::Result<(Vec<u8>, Vec<u8>), Error>;

impl Dump {
    pub(super) fn run(&self) -> Result<Outcome> {
        let failed = failed(&self.path);
        let region = Region::open(&self.path).map_err(&failed)?;
        let info = region.info().map_err(&failed)?;
        let session = region.join("weald hot dump").map_err(&failed)?;
        let view = info.views.then(|| session.view()).transpose().map_err(&failed)?;
        let items: Box<dyn Iterator<Item = Item>> = match (&view, info.ordered) {
            (Some(view), true) => Box::new(view.range(..).map_err(&failed)?),
            (Some(view), false) => Box::new(view.scan()),
            (None, true) => Box::new(session.range(..).map_err(&failed)?),
            (None, false) => Box::new(session.scan()),
        };
        let mut out = Output::new();
        for item in items {
            let (key, value) = item.map_err(&failed)?;
            if self.json {
                out.json(self.hex, |object| {
                    object.bytes("key", &key)?.bytes("value", &value)
                })?;
                continue;
            }
            out.readable(&key, self.hex)?;
            out.raw(b"\t")?;
            out.readable(&value, self.hex)?;
            out.raw(b"\n")?;
        }
        out.finish()?;
        Ok(Outcome::Done)
    }
}
