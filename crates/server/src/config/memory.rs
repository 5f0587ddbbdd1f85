//! Numbers of bytes with units.

/// Reads `100`, `1k` (1000), `1kb` (1024), `1m`, `1mb`, `1g`, `1gb`.
pub(crate) fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::parse_bytes;

    #[test]
    fn units() {
        for (text, expected) in [
            ("0", Some(0)),
            ("10", Some(10)),
            ("1k", Some(1000)),
            ("1KB", Some(1024)),
            ("2mb", Some(2 << 20)),
            ("1gb", Some(1 << 30)),
            ("", None),
            ("kb", None),
            ("-1", None),
            ("1tb", None),
            ("99999999999999gb", None),
        ] {
            assert_eq!(parse_bytes(text), expected, "{text:?}");
        }
    }
}
