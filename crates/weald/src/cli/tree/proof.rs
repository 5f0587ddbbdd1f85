//! `weald tree query`, `prove` and `verify`: an answer, its proof, and the answer once more from the proof alone.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use weald_proof::{Error, Hash, PROOF_LEN_MAX, verify};

use crate::cli::Outcome;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::Output;
use crate::cli::replace;
use crate::cli::stream::{self, Sink};
use crate::cli::tree::asked::Asked;
use crate::cli::tree::store;

/// Answer a query
///
/// A line has the path of a key, what it holds in a word, and that itself. Of --totals and --rank it has the count, a tab and the sum.
#[derive(Args, Debug)]
pub(crate) struct Answered {
    #[command(flatten)]
    asked: Asked,
}

impl Answered {
    pub(crate) fn run(&self, db: Option<&Path>) -> Result<Outcome> {
        let query = self.asked.query()?;
        let trees = store::read(db)?;
        let snapshot = trees.store.snapshot().map_err(trees.failed())?;
        let answer = snapshot.query(&query).map_err(trees.failed())?;
        let mut out = Output::new();
        let outcome = self.asked.style().answer(&mut out, &self.asked.path, &answer)?;
        out.finish()?;
        Ok(outcome)
    }
}

/// Write the proof of the answer to a query
///
/// 'weald tree verify' with the same query checks it against the root hash, and gives the answer. That nothing is there is proven too.
#[derive(Args, Debug)]
pub(crate) struct Prove {
    #[command(flatten)]
    asked: Asked,
    /// Where the proof goes; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-", value_hint = clap::ValueHint::FilePath)]
    out: PathBuf,
    /// Overwrite the file
    #[arg(long)]
    force: bool,
}

impl Prove {
    pub(crate) fn run(&self, db: Option<&Path>) -> Result<Outcome> {
        let query = self.asked.query()?;
        stream::refuse_report(&self.out, self.asked.style().json)?;
        if self.out.as_os_str() != "-" {
            replace::refuse_existing(&self.out, self.force)?;
        }
        let trees = store::read(db)?;
        let snapshot = trees.store.snapshot().map_err(trees.failed())?;
        let root = snapshot.root().map_err(trees.failed())?;
        let proof = snapshot.prove(&query).map_err(trees.failed())?;
        let mut sink = Sink::new(&self.out, self.force)?;
        sink.write(Path::new(""), |to| Ok(to.write_all(&proof)))?
            .map_err(Failure::file("write", &self.out))?;
        sink.finish()?;
        if self.asked.style().json {
            let mut out = Output::new();
            out.json(false, |object| {
                object
                    .number("bytes", proof.len() as u64)?
                    .text("root", &root.to_string())
            })?;
            out.finish()?;
        }
        Ok(Outcome::Done)
    }
}

/// Check a proof, and write the answer that it proves
///
/// It takes the proof, the root hash and the query, and no database. Exits with 1 if the proof does not prove an answer to this query under this
/// root hash, or if it proves that there is no such tree.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    #[command(flatten)]
    asked: Asked,
    /// The root hash, from someone you trust: 64 hexadecimal digits
    #[arg(long, value_name = "HASH", value_parser = root)]
    root: Hash,
    /// The proof; - is standard input
    #[arg(long, value_name = "FILE", default_value = "-", value_hint = clap::ValueHint::FilePath)]
    proof: PathBuf,
}

fn root(digits: &str) -> Result<Hash, String> {
    Hash::from_hex(digits).ok_or_else(|| "a root hash has 64 hexadecimal digits".to_owned())
}

impl Verify {
    pub(crate) fn run(&self) -> Result<Outcome> {
        let query = self.asked.query()?;
        let (from, _) = stream::source(&self.proof)?;
        let mut proof = Vec::new();
        // One byte more than any proof has, so that a longer one is refused as such.
        from.take(PROOF_LEN_MAX as u64 + 1)
            .read_to_end(&mut proof)
            .map_err(Failure::file("read", &self.proof))?;
        let answer = verify(&proof, &self.root, &query)
            .map_err(|e: Error| Failure::Refused(format!("the proof is refused: {e}")))?;
        let mut out = Output::new();
        let outcome = self.asked.style().answer(&mut out, &self.asked.path, &answer)?;
        out.finish()?;
        Ok(outcome)
    }
}
