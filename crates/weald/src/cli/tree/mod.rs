//! `weald tree`: trees of elements within trees, under one root hash that proofs are checked against.
//!
//! ```text
//!  put, del, drop ──► change    transactions
//!  get, ls, root, diff ──► look    snapshots
//!  query, prove, verify ──► proof    an answer, its proof, and the proof checked; asked: the query, for all three
//!  path: how trees and references are named; show: how elements are written; store: opening, and what can go wrong
//! ```

mod asked;
mod change;
mod look;
mod path;
mod proof;
mod show;
mod store;

use std::path::Path;

use clap::{Args, Subcommand};

use crate::cli::Outcome;
use crate::cli::failure::Result;

/// Keep trees whose contents can be proven
///
/// A tree maps keys to elements: items, numbers that are summed up, references, and trees in their turn. One root hash stands for all of it;
/// whoever knows that hash can check an answer with its proof, and needs neither the database nor trust in who has it.
///
/// A path names keys from the outermost tree down: /users/ann. In a segment, a slash is written \/, a backslash \\ and any byte \xff;
/// the segment of no bytes is \e. Trees lie beside the database's buckets and keys, and have nothing to do with them.
#[derive(Args, Debug)]
pub(crate) struct Tree {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Put(change::Put),
    Get(look::Get),
    Del(change::Del),
    Ls(look::Ls),
    Query(proof::Answered),
    Root(look::Root),
    Prove(proof::Prove),
    Verify(proof::Verify),
    Diff(look::Diff),
    Drop(change::Drop),
}

impl Tree {
    pub(crate) fn run(&self, db: Option<&Path>) -> Result<Outcome> {
        match &self.action {
            Action::Put(put) => put.run(db),
            Action::Get(get) => get.run(db),
            Action::Del(del) => del.run(db),
            Action::Ls(ls) => ls.run(db),
            Action::Query(query) => query.run(db),
            Action::Root(root) => root.run(db),
            Action::Prove(prove) => prove.run(db),
            Action::Verify(verify) => verify.run(),
            Action::Diff(diff) => diff.run(db),
            Action::Drop(drop) => drop.run(db),
        }
    }
}
