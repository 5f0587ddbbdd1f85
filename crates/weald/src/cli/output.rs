//! Standard output: raw bytes for pipes, something readable for a terminal.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use crate::cli::failure::{Failure, Result};
use crate::cli::json::Object;
use crate::cli::text;

/// A JSON object on its way to standard output.
pub(crate) type Fields<'w> = Object<'w, BufWriter<StdoutLock<'static>>>;

/// How much is written at once.
const BUFFER: usize = 64 << 10;

/// Standard output while a command runs.
pub(crate) struct Output {
    out: BufWriter<StdoutLock<'static>>,
    terminal: bool,
    line: String,
}

impl Output {
    pub(crate) fn new() -> Output {
        let out = io::stdout().lock();
        Output {
            terminal: out.is_terminal(),
            out: BufWriter::with_capacity(BUFFER, out),
            line: String::new(),
        }
    }

    /// Whether a person reads it.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Writes one JSON object on a line of its own.
    pub(crate) fn json(
        &mut self,
        hex: bool,
        fields: impl FnOnce(Fields<'_>) -> io::Result<Fields<'_>>,
    ) -> Result<()> {
        Object::begin(&mut self.out, hex)
            .and_then(fields)
            .and_then(Object::end)
            .map_err(Failure::output)
    }

    /// Writes a line of text.
    pub(crate) fn line(&mut self, line: impl std::fmt::Display) -> Result<()> {
        writeln!(self.out, "{line}").map_err(Failure::output)
    }

    /// Writes bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(Failure::output)
    }

    /// Writes bytes in a readable form: escaped, or in hexadecimal.
    pub(crate) fn readable(&mut self, bytes: &[u8], hex: bool) -> Result<()> {
        self.line.clear();
        if hex {
            text::hex_into(&mut self.line, bytes);
        } else {
            text::escape_into(&mut self.line, bytes);
        }
        self.out.write_all(self.line.as_bytes()).map_err(Failure::output)
    }

    /// Hands on what there is, for those who wait for it.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(Failure::output)
    }

    /// Hands everything on. A command that does not call this can't know that its answer arrived.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.flush()
    }
}
