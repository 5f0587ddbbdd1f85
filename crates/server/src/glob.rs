//! Patterns of keys and channels: `*`, `?`, `[a-z]`, `[^a]` and a backslash, as Redis understands them.

/// How many times a `*` may begin anew for one text: a bound on what a malicious pattern costs.
const STARS_MAX: usize = 1 << 20;

/// Whether `text` is what `pattern` says.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    matches_with(pattern, text, false)
}

/// The same where capitals don't matter.
pub(crate) fn matches_any_case(pattern: &[u8], text: &[u8]) -> bool {
    matches_with(pattern, text, true)
}

fn matches_with(pattern: &[u8], text: &[u8], any_case: bool) -> bool {
    let (mut p, mut t) = (0, 0);
    // Only the last star needs to be tried again: an earlier one could give nothing that this one can't.
    let mut star: Option<(usize, usize)> = None;
    let mut tries = 0;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            p += 1;
            if p == pattern.len() {
                return true;
            }
            star = Some((p, t));
            continue;
        }
        if t == text.len() {
            return p == pattern.len();
        }
        match one(&pattern[p..], text[t], any_case) {
            Some(len) => {
                p += len;
                t += 1;
            }
            None => match &mut star {
                Some((after, from)) if tries < STARS_MAX => {
                    tries += 1;
                    *from += 1;
                    p = *after;
                    t = *from;
                }
                _ => return false,
            },
        }
    }
}

/// Whether the first element of the pattern is this byte: how long the element is.
fn one(pattern: &[u8], byte: u8, any_case: bool) -> Option<usize> {
    let fold = |byte: u8| if any_case { byte.to_ascii_lowercase() } else { byte };
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => {
            let (found, len) = in_class(class, fold(byte), fold);
            found.then_some(len + 1)
        }
        [b'\\', escaped, ..] => (fold(*escaped) == fold(byte)).then_some(2),
        [plain, ..] => (fold(*plain) == fold(byte)).then_some(1),
    }
}

/// Whether a class has a byte, and how long the class is.
fn in_class(class: &[u8], byte: u8, fold: impl Fn(u8) -> u8) -> (bool, usize) {
    let not = class.first() == Some(&b'^');
    let mut at = usize::from(not);
    let mut found = false;
    loop {
        match &class[at.min(class.len())..] {
            // A class that is not closed ends with the pattern.
            [] => return (found != not, class.len()),
            [b']', ..] => return (found != not, at + 1),
            [b'\\', escaped, ..] => {
                found |= fold(*escaped) == byte;
                at += 2;
            }
            [low, b'-', high, ..] => {
                let (low, high) = (fold(*low), fold(*high));
                found |= (low.min(high)..=low.max(high)).contains(&byte);
                at += 3;
            }
            [plain, ..] => {
                found |= fold(*plain) == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(
            matches(pattern.as_bytes(), text.as_bytes()),
            expected,
            "{pattern} {text}"
        );
    }

    #[test]
    fn patterns() {
        check("*", "", true);
        check("", "", true);
        check("", "a", false);
        check("a*c", "abbc", true);
        check("a*c", "abbcd", false);
        check("a?c", "abc", true);
        check("h[ae]llo", "hello", true);
        check("h[^e]llo", "hello", false);
        check("h[^e]llo", "hallo", true);
        check("h[b-a]llo", "hallo", true);
        check(r"h\*llo", "h*llo", true);
        check(r"h\*llo", "hello", false);
        check("[abc", "a", true);
        check("[", "a", false);
        check("a*b*c*d", "axxbxxcxxd", true);
        check("*?", "", false);
        check(r"a\", r"a\", true);
        assert!(matches_any_case(b"H[A-C]*", b"hbc"));
    }

    #[test]
    fn a_malicious_pattern_ends_soon() {
        let pattern = "a*".repeat(1000) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(10_000).as_bytes()));
    }
}
