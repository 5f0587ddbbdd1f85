//! `weald cluster`: the nodes of a cluster, asked and told through one of them.
//!
//! ```text
//!  init ──► secret            files, no node
//!  status, layout ──► look    ─┐
//!  join, leave, replace,       ├─► talk    one connection to a node
//!  repair ──► change          ─┘
//! ```

mod change;
mod look;
mod secret;
mod talk;

use clap::{Args, Subcommand};

use crate::cli::Outcome;
use crate::cli::failure::Result;

/// Found, look at and change a cluster
///
/// A node is a server with --cluster-port: 'weald serve --cluster-port 7379 --cluster-secret-file FILE'. The first one founds
/// the cluster, others name it with --join. These commands talk to any running node as a client does; 'init' makes what a
/// node needs before it is started.
#[derive(Args, Debug)]
pub(crate) struct Cluster {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Init(secret::Init),
    Status(look::Status),
    Layout(look::Layout),
    Join(change::Join),
    Leave(change::Leave),
    Replace(change::Replace),
    Repair(change::Repair),
}

impl Cluster {
    pub(crate) fn run(&self) -> Result<Outcome> {
        match &self.action {
            Action::Init(init) => init.run(),
            Action::Status(status) => status.run(),
            Action::Layout(layout) => layout.run(),
            Action::Join(join) => join.run(),
            Action::Leave(leave) => leave.run(),
            Action::Replace(replace) => replace.run(),
            Action::Repair(repair) => repair.run(),
        }
    }
}
