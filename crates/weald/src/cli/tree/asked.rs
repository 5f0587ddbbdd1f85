//! The query that a command line asks: the same for the answer, for its proof, and for checking that.

use std::ffi::OsString;
use std::ops::Bound;

use clap::Args;
use weald_proof::{Direction, Query, Range};

use crate::cli::commands::scan::{self, Bounds};
use crate::cli::failure::{Failure, Result};
use crate::cli::input;
use crate::cli::tree::path::TreePath;
use crate::cli::tree::show::Style;

/// What is asked of a tree. Whoever checks a proof says the same as whoever made it.
#[derive(Args, Debug)]
pub(crate) struct Asked {
    /// The tree that is asked: /users/by-name; / is the outermost
    #[arg(default_value = "/")]
    pub(crate) path: TreePath,
    /// Ask for this key, there or not; may be given again
    #[arg(short, long, value_name = "KEY", conflicts_with_all = ["prefix", "from", "to", "rank"])]
    key: Vec<OsString>,
    #[command(flatten)]
    range: scan::Range,
    /// Begin with the greatest key
    #[arg(short, long)]
    reverse: bool,
    /// End after this many entries
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<u64>,
    /// Leave out this many entries at the beginning
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u64,
    /// Of each subtree found ask for all entries too, and so on, this many levels down
    #[arg(long, value_name = "LEVELS", default_value_t = 0)]
    deep: u8,
    /// Ask for the number of entries and their sum, instead of the entries
    #[arg(short, long, conflicts_with_all = ["key", "limit", "reverse", "offset", "deep"])]
    totals: bool,
    /// Ask how many keys come before this one, and their sum
    #[arg(long, value_name = "KEY", conflicts_with_all = ["prefix", "from", "to", "totals", "limit", "reverse", "offset", "deep"])]
    rank: Option<OsString>,
    /// Keys are given in hexadecimal, and items are shown so
    #[arg(short = 'x', long)]
    hex: bool,
    /// Write one JSON object a line; bytes that are not UTF-8 as {"hex":"00ff"}
    #[arg(long)]
    json: bool,
}

impl Asked {
    pub(crate) fn style(&self) -> Style {
        Style {
            hex: self.hex,
            json: self.json,
        }
    }

    /// The query; those that nothing can answer are refused.
    pub(crate) fn query(&self) -> Result<Query> {
        let mut query = if let Some(key) = &self.rank {
            Query::rank(&input::argument(key, self.hex)?)
        } else if self.totals {
            Query::totals(range(self.range.bounds(self.hex)?))
        } else if self.key.is_empty() {
            Query::entries([range(self.range.bounds(self.hex)?)])
        } else {
            let keys = self.key.iter().map(|key| input::argument(key, self.hex));
            Query::keys(keys.collect::<Result<Vec<_>>>()?)
        };
        if self.reverse {
            query = query.direction(Direction::Descending);
        }
        if let Some(limit) = self.limit {
            query = query.limit(limit);
        }
        query = query.offset(self.offset);
        if self.deep > 0 {
            let below = (1..self.deep).fold(Query::all(), |below, _| Query::all().below(below));
            query = query.below(below);
        }
        query = query.at(self.path.segments());
        query
            .check()
            .map_err(|e| Failure::Usage(format!("nothing can answer this: {e}")))?;
        Ok(query)
    }
}

fn range((start, end): Bounds) -> Range {
    let or_after = |bound| match bound {
        Bound::Unbounded => None,
        Bound::Excluded(key) | Bound::Included(key) => Some(key),
    };
    Range {
        start: or_after(start).unwrap_or_default(),
        end: or_after(end),
    }
}
