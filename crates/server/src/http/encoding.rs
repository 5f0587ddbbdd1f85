//! Bytes as text: base64, and the percent signs of addresses.

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            if i <= three.len() {
                text.push(char::from(LETTERS[(bits >> (18 - 6 * i) & 63) as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// What a base64 text with or without padding means; `None` where it is none.
pub(super) fn base64_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"=").unwrap_or(text);
    let text = text.strip_suffix(b"=").unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for four in text.chunks(4) {
        if four.len() == 1 {
            return None;
        }
        let mut bits = 0u32;
        for letter in four {
            bits = bits << 6 | LETTERS.iter().position(|other| other == letter)? as u32;
        }
        bits <<= 6 * (4 - four.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    Some(bytes)
}

/// A part of an address without its percent signs; `None` where one stands wrong.
pub(super) fn percent_decoded(text: &[u8], plus_is_blank: bool) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let [high, low, after @ ..] = rest else {
                    return None;
                };
                bytes.push(digit(*high)? << 4 | digit(*low)?);
                rest = after;
            }
            b'+' if plus_is_blank => bytes.push(b' '),
            byte => bytes.push(*byte),
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_everybody_and_comes_back() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), text);
            assert_eq!(base64_decoded(text.as_bytes()), Some(plain.as_bytes().to_vec()));
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(base64_decoded(base64(&all).as_bytes()), Some(all));
        assert_eq!(base64_decoded(b"A"), None);
        assert_eq!(base64_decoded(b"a?=="), None);
    }

    #[test]
    fn percent_signs_stand_before_two_digits() {
        assert_eq!(percent_decoded(b"a%2fb+", false), Some(b"a/b+".to_vec()));
        assert_eq!(percent_decoded(b"a+b", true), Some(b"a b".to_vec()));
        for text in ["%", "%1", "%g1", "a%+1"] {
            assert_eq!(percent_decoded(text.as_bytes(), false), None, "{text}");
        }
    }
}
