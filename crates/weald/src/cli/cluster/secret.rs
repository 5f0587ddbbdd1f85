//! `weald cluster init`: what a node needs before it is started.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::Output;

const BYTES: usize = 32;

/// Make the secret that the nodes of a cluster share
///
/// It is written to the file, for its owner's eyes only, and belongs on every node. A file that is there stays as it is, and the
/// exit code is 1.
#[derive(Args, Debug)]
pub(crate) struct Init {
    /// The file for the secret
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,

    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl Init {
    pub(super) fn run(&self) -> Result<Outcome> {
        let made = self.make()?;
        let mut out = Output::new();
        let path = self.file.display().to_string();
        if self.json {
            out.json(false, |json| json.text("file", &path)?.truth("made", made))?;
        } else if made {
            out.line(format_args!(
                "{path} has a secret now. Start the first node with\n  weald serve --cluster-port 7379 --cluster-secret-file {path}\nand others, which have the same file, with --join and its address"
            ))?;
        } else {
            out.line(format_args!("{path} is there already, and stays as it is"))?;
        }
        out.finish()?;
        Ok(Outcome::of(made))
    }

    fn make(&self) -> Result<bool> {
        let mut bytes = [0; BYTES];
        std::fs::File::open("/dev/urandom")
            .and_then(|mut random| random.read_exact(&mut bytes))
            .map_err(|e| Failure::Io("get random bytes".to_owned(), e))?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = match options.open(&self.file) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => return Ok(false),
            opened => opened.map_err(Failure::file("write", &self.file))?,
        };
        let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push('\n');
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(Failure::file("write", &self.file))?;
        Ok(true)
    }
}
