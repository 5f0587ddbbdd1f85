//! The command line as real processes: what they print, how they end, and what they leave behind.

#[path = "cli/program.rs"]
mod program;

#[path = "cli/buckets.rs"]
mod buckets;
#[path = "cli/endings.rs"]
mod endings;
#[path = "cli/hot.rs"]
mod hot;
#[path = "cli/mistakes.rs"]
mod mistakes;
#[path = "cli/naming.rs"]
mod naming;
#[path = "cli/pairs.rs"]
mod pairs;
#[path = "cli/serve.rs"]
mod serve;
#[path = "cli/telling.rs"]
mod telling;
#[path = "cli/trees.rs"]
mod trees;
#[path = "cli/upkeep.rs"]
mod upkeep;
