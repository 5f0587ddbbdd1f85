//! A whole cluster in one thread from one seed: real protocol, simulated network, disks and clocks, and checkers for what must never happen.
//!
//! [`run`] sets up a cluster, lets clients work while faults strike, heals everything, and checks: no acknowledged write lost, nothing going backwards, compare-and-set linearizable, nothing deleted or expired back,
//! replicas identical in the end, work going on within a stated time. A seed repeats a run exactly. [`World`] is there for scenarios of one's own.
//!
//! ```
//! let report = weald_sim::run(&weald_sim::Options { seed: 1, bugs: Vec::new(), seconds: 2, trace: false });
//! assert_eq!(report.violations, Vec::<String>::new());
//! ```

#![forbid(unsafe_code)]

mod checker;
mod clients;
mod disk;
mod faults;
mod history;
mod identity;
mod network;
mod run;
mod words;
mod world;

pub use checker::{check_plain, check_register};
pub use disk::Disk;
pub use history::{Action, Event, Outcome};
pub use network::Network;
pub use run::{CONVERGE_MS, HEAL_MS, Options, Report, founding, run, tune};
pub use words::Telling;
pub use world::{Counts, EPOCH_MS, Machine, World};
