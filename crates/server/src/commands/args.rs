//! How arguments are read.

use crate::call::Call;
use crate::error::CommandError;

pub(super) type Result<T> = std::result::Result<T, CommandError>;

/// The longest string, as Redis has it by default.
pub(super) const STRING_MAX: u64 = 512 << 20;

pub(super) fn integer(arg: &[u8]) -> Result<i64> {
    weald_resp::parse_i64(arg).ok_or_else(CommandError::not_an_integer)
}

/// An integer that has an error of its own.
pub(super) fn integer_or(arg: &[u8], error: &'static str) -> Result<i64> {
    weald_resp::parse_i64(arg).ok_or_else(|| CommandError::new(error))
}

/// An integer of 0 or more.
pub(super) fn positive(arg: &[u8]) -> Result<i64> {
    let error = || CommandError::new("ERR value is out of range, must be positive");
    match weald_resp::parse_i64(arg) {
        Some(value) if value >= 0 => Ok(value),
        _ => Err(error()),
    }
}

/// A number with or without a fraction, infinities included.
pub(super) fn parse_float(arg: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(arg).ok()?;
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    // What Rust reads beside what C does: `nan`; and C reads no blanks in between either.
    let first = digits.bytes().next()?;
    if !(first.is_ascii_digit() || first == b'.' || first.eq_ignore_ascii_case(&b'i')) {
        return None;
    }
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        let value = u64::from_str_radix(hex, 16).ok()? as f64;
        return Some(if text.starts_with('-') { -value } else { value });
    }
    text.parse().ok().filter(|value: &f64| !value.is_nan())
}

pub(super) fn float(arg: &[u8]) -> Result<f64> {
    parse_float(arg).ok_or_else(CommandError::not_a_float)
}

pub(super) fn is_word(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// The number of keys at `at`, and the keys after it.
pub(super) fn counted_keys<'a>(args: &'a [&'a [u8]], at: usize) -> Result<&'a [&'a [u8]]> {
    let count = integer_or(args[at], "ERR numkeys should be greater than 0")?;
    if count <= 0 {
        return Err(CommandError::new("ERR numkeys should be greater than 0"));
    }
    let end = usize::try_from(count)
        .ok()
        .and_then(|count| count.checked_add(at + 1));
    end.and_then(|end| args.get(at + 1..end))
        .ok_or_else(|| CommandError::new("ERR Number of keys can't be greater than number of args"))
}

/// The time to wait for, in seconds with a fraction; nothing for ever.
pub(super) fn timeout(arg: &[u8]) -> Result<Option<u64>> {
    let seconds =
        parse_float(arg).ok_or_else(|| CommandError::new("ERR timeout is not a float or out of range"))?;
    if seconds < 0.0 {
        return Err(CommandError::new("ERR timeout is negative"));
    }
    let ms = (seconds * 1000.0).ceil();
    if ms >= i64::MAX as f64 {
        return Err(CommandError::new("ERR timeout is out of range"));
    }
    Ok((ms > 0.0).then_some(ms as u64))
}

/// How a time of expiry is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeUnit {
    pub(super) ms_each: i64,
    /// Since 1970, not from now.
    pub(super) absolute: bool,
}

impl TimeUnit {
    pub(super) const EX: TimeUnit = TimeUnit {
        ms_each: 1000,
        absolute: false,
    };
    pub(super) const PX: TimeUnit = TimeUnit {
        ms_each: 1,
        absolute: false,
    };
    pub(super) const EXAT: TimeUnit = TimeUnit {
        ms_each: 1000,
        absolute: true,
    };
    pub(super) const PXAT: TimeUnit = TimeUnit {
        ms_each: 1,
        absolute: true,
    };

    pub(super) fn of(word: &[u8]) -> Option<TimeUnit> {
        [
            ("ex", TimeUnit::EX),
            ("px", TimeUnit::PX),
            ("exat", TimeUnit::EXAT),
            ("pxat", TimeUnit::PXAT),
        ]
        .into_iter()
        .find(|(name, _)| is_word(word, name))
        .map(|(_, unit)| unit)
    }

    /// A time in milliseconds since 1970, which must lie after 0.
    pub(super) fn at(self, call: &Call<'_, '_>, arg: &[u8]) -> Result<u64> {
        let name = call.found.command.name;
        let invalid = || CommandError::new(format!("ERR invalid expire time in '{name}' command"));
        let value = integer(arg)?;
        if value <= 0 {
            return Err(invalid());
        }
        let base = if self.absolute { 0 } else { call.now_ms as i64 };
        value
            .checked_mul(self.ms_each)
            .and_then(|ms| ms.checked_add(base))
            .map(|at| at as u64)
            .ok_or_else(invalid)
    }
}
