//! Sums of numbers with fractions, as `INCRBYFLOAT` gives them: exact to 17 digits after the point, where binary fractions would give
//! 0.30000000000000004 for 0.1 and 0.2.

use crate::commands::args::parse_float;

/// Digits after the point.
const DIGITS: i32 = 17;
const ONE: i128 = 10i128.pow(DIGITS as u32);
/// From here on numbers are added as floating-point ones.
const EXACT_MAX: f64 = 1e18;

/// The sum of two numbers as its digits; nothing where it is infinite or one of them is no number.
pub(super) fn sum(a: &[u8], b: &[u8]) -> Option<String> {
    let (x, y) = (parse_float(a)?, parse_float(b)?);
    let float = x + y;
    if !float.is_finite() {
        return None;
    }
    let exact = [x, y].iter().all(|value| value.abs() < EXACT_MAX);
    match (
        exact.then(|| fixed(a)).flatten(),
        exact.then(|| fixed(b)).flatten(),
    ) {
        (Some(a), Some(b)) => Some(digits(a + b)),
        _ => Some(plain(float)),
    }
}

/// A floating-point number without an exponent.
pub(super) fn plain(value: f64) -> String {
    let mut text = format!("{value:.17}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    if text == "-0" { "0".to_owned() } else { text }
}

/// A number of less than [`EXACT_MAX`] in units of the last digit.
fn fixed(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?;
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let negative = mantissa.starts_with('-');
    let mantissa = mantissa.trim_start_matches(['-', '+']);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    // Where the point is, from the beginning of all digits.
    let point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let end = point.checked_add(DIGITS)?;
    let mut value = 0i128;
    let mut digits = whole.bytes().chain(fraction.bytes());
    for _ in 0..end.max(0) {
        let digit = digits.next().unwrap_or(b'0');
        value = value
            .checked_mul(10)?
            .checked_add(i128::from(digit.checked_sub(b'0').filter(|d| *d < 10)?))?;
    }
    if end >= 0 && digits.next().is_some_and(|digit| digit >= b'5') {
        value += 1;
    }
    Some(if negative { -value } else { value })
}

fn digits(value: i128) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let (whole, fraction) = (value.abs() / ONE, value.abs() % ONE);
    let text = format!("{sign}{whole}.{fraction:017}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_digits() {
        for (a, b, expected) in [
            ("10.50", "0.1", Some("10.6")),
            ("0.1", "0.2", Some("0.3")),
            ("5.0e3", "2.0e2", Some("5200")),
            ("1", "-1", Some("0")),
            ("-1.5", "1", Some("-0.5")),
            ("3", "1.000000000000000005", Some("4.00000000000000001")),
            ("1e-20", "0", Some("0")),
            (
                "1e300",
                "1e300",
                Some(
                    "2000000000000000052504760255204420248704468581108159154915854115111802457988908195786371375080447854045104128",
                ),
            ),
            ("1.7e308", "1.7e308", None),
            ("inf", "1", None),
        ] {
            let found = sum(a.as_bytes(), b.as_bytes());
            match expected {
                Some(expected) if expected.len() > 50 => {
                    assert_eq!(found.expect("a number").parse::<f64>().ok(), Some(2e300));
                }
                expected => assert_eq!(found.as_deref(), expected, "{a} {b}"),
            }
        }
    }
}
