//! What keys take: the memory of the process after writing them, and of one that was started again and has read.

use std::fmt::Write as _;

use super::Asked;
use super::programs::Program;
use crate::engine::Result;

/// Keys and values of 16 bytes, in MB.
pub(super) fn table(asked: &Asked, names: &[&str]) -> Result<String> {
    let keys = asked.memory_keys;
    let mut out = format!("\n| {keys} keys, MB | own | mapped |\n| --- | --- | --- |\n");
    let mut row = |what: String, server: &Program| -> Result<()> {
        let (own, mapped) = server.memory()?;
        let _ = writeln!(out, "| {what} | {} | {} |", own / 1_000_000, mapped / 1_000_000);
        Ok(())
    };
    for name in names {
        let mut server = Program::start(asked, name, false)?;
        row(format!("{name}, empty"), &server)?;
        server.connection()?.fill(keys)?;
        if *name == "weald" {
            // What Redis has not: writes wait in memory for the file.
            server.connection()?.ask("SAVE", "+OK")?;
            row(format!("{name}, after the load and a checkpoint"), &server)?;
            server.restart()?;
            let reads = keys * 2 / 5;
            server.connection()?.read(reads, keys)?;
            row(format!("{name}, started again, after {reads} reads"), &server)?;
        } else {
            row(format!("{name}, after the load"), &server)?;
        }
    }
    Ok(out)
}
