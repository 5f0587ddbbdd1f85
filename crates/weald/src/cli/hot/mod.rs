//! `weald hot`: regions of shared memory, made, looked at, removed and worked in.
//!
//! `make` makes and removes them, `look` tells what is in them, `worker` works in one.

mod look;
mod make;
mod worker;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use weald::hot::{Error, Lifetime, Opened, PageSize, Region, RegionOptions};

use crate::cli::Outcome;
use crate::cli::failure::{Failure, Result};

/// Make, look at, check and remove regions of shared memory
///
/// A region is a key-value map that any number of processes share at memory speed, and that survives the death of each of them. It is a file, best
/// one in /dev/shm. These commands take its path instead of --db.
#[derive(Args, Debug)]
pub(crate) struct Hot {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Create(make::Create),
    Rm(make::Remove),
    Info(look::Info),
    Stat(look::Stat),
    Verify(look::Verify),
    Dump(look::Dump),
    Persist(make::Persist),
    Worker(worker::Worker),
}

impl Hot {
    pub(crate) fn run(&self) -> Result<Outcome> {
        match &self.action {
            Action::Create(create) => create.run(),
            Action::Rm(remove) => remove.run(),
            Action::Info(info) => info.run(),
            Action::Stat(stat) => stat.run(),
            Action::Verify(verify) => verify.run(),
            Action::Dump(dump) => dump.run(),
            Action::Persist(persist) => persist.run(),
            Action::Worker(worker) => worker.run(),
        }
    }
}

/// What a region is made with.
#[derive(Args, Debug)]
struct Making {
    /// The most memory that it may grow to: 64M, 4G
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = bytes)]
    capacity: u64,
    /// The unit in which memory is taken and given back, and the bound on a value's size
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = bytes)]
    volume: u64,
    /// How many sessions may be joined at once
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=4095))]
    sessions: u32,
    /// The size of the pages asked for; small ones are taken where there are no others
    #[arg(long, value_name = "SIZE", default_value = "4K", value_parser = page_size)]
    pages: PageSize,
    /// Keep the keys in order
    #[arg(long)]
    ordered: bool,
    /// Keep what keys had before for as long as a view sees it
    #[arg(long)]
    views: bool,
    /// Make it a cache that evicts what is over this many bytes
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = bytes, conflicts_with = "views")]
    cache: u64,
    /// Check every object before it is freed
    #[arg(long)]
    paranoid: bool,
    /// Let it go with the last process that has it open
    #[arg(long, conflicts_with = "image")]
    passing: bool,
    /// Restore it from this file, and write its persist points there; implies --views
    #[arg(long, value_name = "FILE", conflicts_with = "cache", value_hint = clap::ValueHint::FilePath)]
    image: Option<PathBuf>,
}

impl Making {
    fn options(&self) -> RegionOptions {
        RegionOptions {
            capacity: self.capacity,
            volume_size: self.volume,
            sessions: self.sessions,
            page_size: self.pages,
            ordered: self.ordered,
            views: self.views,
            cache_bytes: self.cache,
            paranoid: self.paranoid,
            lifetime: if self.passing {
                Lifetime::Processes
            } else {
                Lifetime::Boot
            },
            ..RegionOptions::default()
        }
    }

    /// Joins the region at `path`, or makes it.
    fn open(&self, path: &Path) -> Result<(Region, Option<Opened>)> {
        let opened = match &self.image {
            Some(image) => Region::open_persistent(path, image, &self.options())
                .map(|(region, opened)| (region, Some(opened))),
            None => Region::open_or_create(path, &self.options()).map(|region| (region, None)),
        };
        opened.map_err(failed(path))
    }
}

/// What went wrong with the region at `path`.
fn failed(path: &Path) -> impl Fn(Error) -> Failure {
    let path = path.to_owned();
    move |e| Failure::Region(path.clone(), Box::new(e))
}

/// A number of bytes: 4096, 64K, 16M, 2G.
fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size; write 4096, 64K, 16M or 2G");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KIB" => 10,
        "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

fn page_size(text: &str) -> Result<PageSize, String> {
    match bytes(text)? {
        0x1000 => Ok(PageSize::Base),
        0x20_0000 => Ok(PageSize::Huge2M),
        0x4000_0000 => Ok(PageSize::Huge1G),
        _ => Err("pages are 4K, 2M or 1G".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_taken_apart() {
        for (text, size) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("64k", Some(64 << 10)),
            ("16MiB", Some(16 << 20)),
            ("2G", Some(2 << 30)),
            ("", None),
            ("G", None),
            ("1.5G", None),
            ("-1", None),
            ("12 apples", None),
            ("99999999999999999999", None),
            ("18446744073709551615G", None),
        ] {
            assert_eq!(bytes(text).ok(), size, "{text}");
        }
    }
}
