//! Numbers as Redis reads and writes them.

/// Reads an integer as Redis does: digits, perhaps after a minus; no plus, no spaces, no leading zeros, nothing beyond 64 bits.
///
/// ```
/// assert_eq!(weald_resp::parse_i64(b"-12"), Some(-12));
/// assert_eq!(weald_resp::parse_i64(b"012"), None);
/// ```
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value: u64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    if negative {
        0i64.checked_sub_unsigned(value)
    } else {
        i64::try_from(value).ok()
    }
}

/// Writes a number as Redis 7.2 does: the fewest digits that are read back as the same number.
///
/// ```
/// assert_eq!(weald_resp::format_double(3.0), "3");
/// assert_eq!(weald_resp::format_double(0.1), "0.1");
/// assert_eq!(weald_resp::format_double(1e-9), "1e-9");
/// assert_eq!(weald_resp::format_double(f64::NEG_INFINITY), "-inf");
/// ```
pub fn format_double(value: f64) -> String {
    /// Up to here every integer is exact.
    const EXACT: f64 = 4_503_599_627_370_496.0;
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    if value.trunc() == value && value.abs() < EXACT {
        return (value as i64).to_string();
    }
    // "d.ddde-x": the digits, and where the point is.
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').expect("that is how this format looks");
    let exponent: i32 = exponent.parse().expect("the exponent of a double");
    let digits = mantissa.replace('.', "");
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}", place_point(&digits, exponent))
}

/// Digits with a point, or with an exponent where that would take many zeros.
fn place_point(digits: &str, exponent: i32) -> String {
    let count = digits.len() as i32;
    // The exponent of the last digit.
    let last = exponent - count + 1;
    if last >= 0 && exponent < count + 7 {
        return format!("{digits}{}", "0".repeat(last as usize));
    }
    if last < 0 && (last > -7 || exponent.abs() < 4) {
        let offset = count + last;
        return if offset <= 0 {
            format!("0.{}{digits}", "0".repeat(-offset as usize))
        } else {
            let (whole, part) = digits.split_at(offset as usize);
            format!("{whole}.{part}")
        };
    }
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{point}{rest}e{sign}{}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_to_the_letter() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0", None),
            ("7", Some(7)),
            ("+7", None),
            (" 7", None),
            ("7 ", None),
            ("07", None),
            ("", None),
            ("-", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("-9223372036854775808", Some(i64::MIN)),
            ("-9223372036854775809", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn doubles_are_written_as_redis_writes_them() {
        for (value, expected) in [
            (-0.0, "-0"),
            (100.0, "100"),
            (-1.5, "-1.5"),
            (3.0999999999999996, "3.0999999999999996"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (0.001, "0.001"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (0.000001234, "1.234e-6"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(format_double(value), expected);
            assert_eq!(expected.parse::<f64>().ok(), Some(value));
        }
    }
}
