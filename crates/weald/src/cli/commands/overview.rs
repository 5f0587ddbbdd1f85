//! `weald` alone: what there is to try.

use crate::cli::Outcome;
use crate::cli::failure::Result;
use crate::cli::output::Output;

const OVERVIEW: &str = "\
Weald is a durable, transactional, ordered key-value database in one file.

Try it:

  weald set  hello world --db my.weald       make my.weald and set a key; it is on the disk when the command ends
  weald get  hello --db my.weald             print the value
  export WEALD_DB=my.weald                   or name the database once
  weald set  photo --file photo.jpg          values of up to 4 GiB, streamed; from standard input too
  weald set  code 1234 --ttl 5m              a key that expires
  weald scan --prefix user: --limit 10       keys and values in order
  weald bucket create users/by-name -p       buckets of keys, as deep as you like
  weald backup monday                        a backup; with --since monday, only what changed
  weald tree put /users/ann --sum 5 -p        trees with a root hash; 'weald tree prove' proves what is in them
  weald check                                is everything as it was written?
  weald stats                                what the database tells of itself
  weald bench                                how fast this machine and this disk are

'weald --help' lists all commands, 'weald COMMAND --help' all that one can do, and 'weald man' prints the manual.
In a Rust program the same database is Database::open(\"my.weald\"), in the crate `weald`.
";

pub(crate) fn run() -> Result<Outcome> {
    let mut out = Output::new();
    out.raw(OVERVIEW.as_bytes())?;
    out.finish()?;
    Ok(Outcome::Done)
}
