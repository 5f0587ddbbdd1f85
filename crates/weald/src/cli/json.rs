//! JSON for scripts: objects of a few fields, one a line, written as they come.

use std::io::{self, Write};

/// An object that is being written.
///
/// Bytes that are UTF-8 become a string, others `{"hex": "00ff"}`, so that nothing is ever lost or guessed.
pub(crate) struct Object<'w, W: Write> {
    out: &'w mut W,
    fields: u32,
    hex: bool,
}

impl<'w, W: Write> Object<'w, W> {
    /// Begins an object. With `hex`, all bytes are given as a string of hexadecimal digits.
    pub(crate) fn begin(out: &'w mut W, hex: bool) -> io::Result<Object<'w, W>> {
        out.write_all(b"{")?;
        Ok(Object { out, fields: 0, hex })
    }

    fn name(&mut self, name: &str) -> io::Result<()> {
        let comma = if self.fields > 0 { "," } else { "" };
        self.fields += 1;
        write!(self.out, "{comma}\"{name}\":")
    }

    pub(crate) fn text(mut self, name: &str, text: &str) -> io::Result<Self> {
        self.name(name)?;
        string(self.out, text)?;
        Ok(self)
    }

    pub(crate) fn number(mut self, name: &str, number: u64) -> io::Result<Self> {
        self.name(name)?;
        write!(self.out, "{number}")?;
        Ok(self)
    }

    /// A number that may be negative, or beyond what JSON readers keep exact: then it is a string of digits.
    pub(crate) fn integer(mut self, name: &str, number: i128) -> io::Result<Self> {
        self.name(name)?;
        if number.unsigned_abs() <= 1 << 53 {
            write!(self.out, "{number}")?;
        } else {
            write!(self.out, "\"{number}\"")?;
        }
        Ok(self)
    }

    /// A number with a fraction; what is no number becomes null.
    pub(crate) fn fraction(mut self, name: &str, number: f64) -> io::Result<Self> {
        self.name(name)?;
        if number.is_finite() {
            write!(self.out, "{number:.3}")?;
        } else {
            write!(self.out, "null")?;
        }
        Ok(self)
    }

    pub(crate) fn truth(mut self, name: &str, truth: bool) -> io::Result<Self> {
        self.name(name)?;
        write!(self.out, "{truth}")?;
        Ok(self)
    }

    pub(crate) fn bytes(mut self, name: &str, bytes: &[u8]) -> io::Result<Self> {
        self.name(name)?;
        if self.hex {
            hex(self.out, bytes)?;
            return Ok(self);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => string(self.out, text)?,
            Err(_) => {
                self.out.write_all(b"{\"hex\":")?;
                hex(self.out, bytes)?;
                self.out.write_all(b"}")?;
            }
        }
        Ok(self)
    }

    /// Ends the object, and the line.
    pub(crate) fn end(self) -> io::Result<()> {
        self.out.write_all(b"}\n")
    }
}

/// A text in quotes, with what has to be escaped.
pub(crate) fn string(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(b"\"")?;
    let mut rest = text.as_bytes();
    // Only these bytes need escapes; what lies between them goes out in one piece.
    while let Some(at) = rest
        .iter()
        .position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f | 0x7f))
    {
        out.write_all(&rest[..at])?;
        match rest[at] {
            b'"' => out.write_all(b"\\\"")?,
            b'\\' => out.write_all(b"\\\\")?,
            b'\n' => out.write_all(b"\\n")?,
            b => write!(out, "\\u{b:04x}")?,
        }
        rest = &rest[at + 1..];
    }
    out.write_all(rest)?;
    out.write_all(b"\"")
}

fn hex(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(b"\"")?;
    let mut digits = String::new();
    for chunk in bytes.chunks(4096) {
        digits.clear();
        super::text::hex_into(&mut digits, chunk);
        out.write_all(digits.as_bytes())?;
    }
    out.write_all(b"\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_string_of_bytes_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        let ascii: String = (0..128).map(|b| char::from(b as u8)).collect();
        for hex in [false, true] {
            let mut out = Vec::new();
            Object::begin(&mut out, hex)
                .and_then(|o| o.bytes("all", &all))
                .and_then(|o| o.bytes("ascii", ascii.as_bytes()))
                .and_then(|o| o.text("text", &ascii))
                .and_then(|o| o.number("n", u64::MAX))
                .and_then(|o| o.integer("i", -5))
                .and_then(|o| o.integer("huge", i128::MIN))
                .and_then(|o| o.fraction("f", 0.5))
                .and_then(|o| o.fraction("none", f64::NAN))
                .and_then(|o| o.truth("t", true))
                .and_then(Object::end)
                .unwrap();
            let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
            let digits = if hex { &value["all"] } else { &value["all"]["hex"] };
            assert_eq!(crate::cli::text::unhex(digits.as_str().unwrap()), Ok(all.clone()));
            assert_eq!(value["text"], ascii);
            assert_eq!(value["n"], u64::MAX);
            assert_eq!(value["i"], -5);
            assert_eq!(value["huge"], i128::MIN.to_string());
            assert!(value["none"].is_null());
            if !hex {
                assert_eq!(value["ascii"], ascii);
            }
        }
    }
}
