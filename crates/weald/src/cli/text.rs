//! Bytes as people write and read them: escaped, in hexadecimal; sizes and durations.

use std::fmt::Write;
use std::time::Duration;

/// Appends `bytes` as one line of text: readable UTF-8 as it is, everything else, and the backslash, escaped. No two different
/// strings of bytes look the same.
pub(crate) fn escape_into(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if is_invisible(c) => {
                    let mut utf8 = [0; 4];
                    c.encode_utf8(&mut utf8).bytes().for_each(|b| escape_byte(out, b));
                }
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|b| escape_byte(out, *b));
    }
}

/// Control characters, and those that turn the direction of the text around: on a terminal neither may pass.
fn is_invisible(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape_byte(out: &mut String, byte: u8) {
    write!(out, "\\x{byte:02x}").expect("a string takes everything");
}

/// `bytes` as one line of text.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    escape_into(&mut out, bytes);
    out
}

/// The byte that a backslash and what follows it stand for, and how many bytes that takes in all.
pub(crate) fn unescape_one(text: &[u8]) -> Option<(u8, usize)> {
    let byte = match text.get(1)? {
        b'\\' => b'\\',
        b'/' => b'/',
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'x' => {
            let digits = std::str::from_utf8(text.get(2..4)?).ok()?;
            return match unhex(digits).ok()?[..] {
                [byte] => Some((byte, 4)),
                _ => None,
            };
        }
        _ => return None,
    };
    Some((byte, 2))
}

/// Appends `bytes` in hexadecimal.
pub(crate) fn hex_into(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// The bytes that hexadecimal digits stand for.
pub(crate) fn unhex(digits: &str) -> Result<Vec<u8>, String> {
    let digit = |c: u8| char::from(c).to_digit(16);
    let pairs = digits.as_bytes().chunks_exact(2);
    let wrong = || format!("'{digits}' is not hexadecimal: two digits for each byte");
    if !pairs.remainder().is_empty() {
        return Err(wrong());
    }
    pairs
        .map(|pair| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8))
        .collect::<Option<_>>()
        .ok_or_else(wrong)
}

/// A size as people read it.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// A number with its thousands set apart.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of things: 1 key, 2 keys.
pub(crate) fn counted(n: u64, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(n))
}

/// Reads a duration: `500ms`, `30s`, `5m`, `2h`, `7d`; a number alone is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("write it as 500ms, 30s, 5m, 2h or 7d".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "write it as 500ms, 30s, 5m, 2h or 7d".to_owned())?;
    match number.checked_mul(unit_ms) {
        Some(0) => Err("it must be longer than nothing".to_owned()),
        Some(ms) => Ok(Duration::from_millis(ms)),
        None => Err("that is too long".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_text_is_one_readable_line() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(escape(bytes), expected);
        check(b"plain", "plain");
        check("Grün".as_bytes(), "Grün");
        check(b"a\tb\nc\\d", "a\\tb\\nc\\\\d");
        check(b"\x00\xff\x1b[2J", "\\x00\\xff\\x1b[2J");
        check("\u{202e}x".as_bytes(), "\\xe2\\x80\\xaex");
    }

    #[test]
    fn hexadecimal_goes_both_ways() {
        let all: Vec<u8> = (0..=255).collect();
        let mut digits = String::new();
        hex_into(&mut digits, &all);
        assert_eq!(unhex(&digits), Ok(all));
        assert_eq!(unhex("FFa0"), Ok(vec![255, 160]));
        for wrong in ["a", "zz", "+1", "äa"] {
            assert!(unhex(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_counts_and_durations_read_well() {
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1 << 20), "1.0 MiB");
        assert_eq!(size((1 << 20) - 1), "1.0 MiB");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(12), "12");
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2d"), Ok(Duration::from_secs(172_800)));
        for wrong in [
            "",
            "s",
            "0",
            "1w",
            "-1s",
            "1.5h",
            "99999999999999999999d",
            "213503982335d",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
