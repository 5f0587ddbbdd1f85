//! The engine against an oracle, a failing disk, and other threads and processes.
//!
//! ```text
//!  seed       a seeded source of numbers, and which seeds a run takes
//!  op         one operation of a transaction, on the database and on the model; what each must answer
//!  model      the oracle: nested maps
//!  generate   operations, transactions and options by chance
//!  hooked     a file system that tells of each call before it makes it
//!  history    a short list of steps with the state after each commit, run on a simulated disk
//! ```
//!
//! A failure prints the seed that repeats it: `WEALD_SEED=n`. `WEALD_SEEDS=n` takes more seeds than the usual few, and `WEALD_EXHAUSTIVE=1`
//! tries every place where the usual run takes samples.

mod accounting;
mod compare;
mod crash;
mod damage;
mod faults;
mod filters;
mod generate;
mod history;
mod hooked;
mod isolation;
mod large;
mod limits;
mod meanwhile;
mod model;
mod model_test;
mod op;
mod processes;
mod seed;
mod stress;
