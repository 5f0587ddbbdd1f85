//! `weald bucket`: make, delete, rename and list buckets.

use std::path::Path;

use clap::{Args, Subcommand};
use weald::{Database, WriteTx};

use crate::cli::Outcome;
use crate::cli::bucket::BucketPath;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::Output;
use crate::cli::place::{self, Open};
use crate::cli::text;

/// Make, delete, rename or list buckets
///
/// A bucket is an ordered set of keys of its own, and can have buckets in it. A path names them from the root: users/by-name. In a
/// name, a slash is written \/, a backslash \\ and any byte \xff.
#[derive(Args, Debug)]
pub(crate) struct Bucket {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Create(Create),
    Delete(Delete),
    Rename(Rename),
    List(List),
}

/// Make a bucket, and the database where there is none
#[derive(Args, Debug)]
struct Create {
    /// The bucket's path
    path: BucketPath,
    /// Make those above it too, and don't mind if it is there
    #[arg(short, long)]
    parents: bool,
    /// Write {"created":true}
    #[arg(long)]
    json: bool,
}

/// Delete a bucket with all that is in it
#[derive(Args, Debug)]
struct Delete {
    /// The bucket's path
    path: BucketPath,
    /// Write {"deleted":true}
    #[arg(long)]
    json: bool,
}

/// Give a bucket another name
#[derive(Args, Debug)]
struct Rename {
    /// The bucket's path
    path: BucketPath,
    /// The name that it gets; it stays in the bucket that it is in
    name: BucketPath,
    /// Write {"renamed":true}
    #[arg(long)]
    json: bool,
}

/// List buckets, and how many keys are in each
#[derive(Args, Debug)]
struct List {
    /// The bucket whose buckets are listed; the root where it is left out
    path: Option<BucketPath>,
    /// List those in them too
    #[arg(short, long)]
    recursive: bool,
    /// Write {"path":…,"name":…,"keys":…} a line
    #[arg(long)]
    json: bool,
}

impl Bucket {
    pub(crate) fn run(&self, db: Option<&Path>) -> Result<Outcome> {
        match &self.action {
            Action::Create(create) => create.run(db),
            Action::Delete(delete) => delete.run(db),
            Action::Rename(rename) => rename.run(db),
            Action::List(list) => list.run(db),
        }
    }
}

impl Create {
    fn run(&self, db: Option<&Path>) -> Result<Outcome> {
        change(place::write_or_create(db)?, "created", self.json, |tx| {
            let Some((above, name)) = self.path.split() else {
                return Ok(());
            };
            if self.parents {
                for ancestor in self.path.ancestors() {
                    if let Some((above, name)) = ancestor.split() {
                        above.write(tx)?.create_bucket_if_absent(name)?;
                    }
                }
            } else {
                above.write(tx)?.create_bucket(name)?;
            }
            Ok(())
        })
    }
}

impl Delete {
    fn run(&self, db: Option<&Path>) -> Result<Outcome> {
        change(place::write(db)?, "deleted", self.json, |tx| {
            match self.path.split() {
                Some((above, name)) => above.write(tx)?.delete_bucket(name),
                None => Ok(()),
            }
        })
    }
}

impl Rename {
    fn run(&self, db: Option<&Path>) -> Result<Outcome> {
        let [to] = self.name.names() else {
            return Err(Failure::Usage(
                "a bucket can be renamed but not moved: give its new name without a path".to_owned(),
            ));
        };
        change(place::write(db)?, "renamed", self.json, |tx| {
            match self.path.split() {
                Some((above, name)) => above.write(tx)?.rename_bucket(name, to),
                None => Ok(()),
            }
        })
    }
}

/// Makes a change in one transaction.
fn change(
    open: Open,
    what: &str,
    json: bool,
    body: impl FnOnce(&mut WriteTx<'_>) -> weald::Result<()>,
) -> Result<Outcome> {
    let commit = |db: &Database| {
        let mut tx = db.write()?;
        body(&mut tx)?;
        tx.commit()
    };
    commit(&open.db).map_err(open.failed())?;
    open.close()?;
    if json {
        let mut out = Output::new();
        out.json(false, |object| object.truth(what, true))?;
        out.finish()?;
    }
    Ok(Outcome::Done)
}

impl List {
    fn run(&self, db: Option<&Path>) -> Result<Outcome> {
        let open = place::read(db)?;
        let failed = open.failed();
        let tx = open.db.read().map_err(&failed)?;
        let mut out = Output::new();
        let path = self.path.clone().unwrap_or_default();
        // Those still to be listed, the next one last: buckets nest deeper than a stack may.
        let mut waiting = vec![(path.read(&tx).map_err(&failed)?, path)];
        let mut is_top = true;
        while let Some((bucket, path)) = waiting.pop() {
            if !is_top {
                self.show(&mut out, &path, bucket.len().map_err(&failed)?)?;
            }
            if is_top || self.recursive {
                for name in bucket.buckets().map_err(&failed)?.into_iter().rev() {
                    waiting.push((bucket.bucket(&name).map_err(&failed)?, path.join(&name)));
                }
            }
            is_top = false;
        }
        out.finish()?;
        Ok(Outcome::Done)
    }

    fn show(&self, out: &mut Output, path: &BucketPath, keys: u64) -> Result<()> {
        if self.json {
            let name = path.names().last().map_or(&b""[..], Vec::as_slice);
            return out.json(false, |object| {
                object
                    .text("path", &path.to_string())?
                    .bytes("name", name)?
                    .number("keys", keys)
            });
        }
        if out.is_terminal() {
            let noun = if keys == 1 { "key" } else { "keys" };
            out.line(format_args!("{path}\t{} {noun}", text::count(keys)))
        } else {
            out.line(format_args!("{path}\t{keys}"))
        }
    }
}
