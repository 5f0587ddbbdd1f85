//! Rust text with blanks in place of comments, strings and characters, so that what is left is code.

/// `source` with every byte of a comment, string or character literal replaced by a blank, but for line ends: places stay.
pub(super) fn code(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        match end {
            Some(end) => {
                for byte in &mut out[at..end] {
                    if *byte != b'\n' {
                        *byte = b' ';
                    }
                }
                at = end;
            }
            None => at += 1,
        }
    }
    String::from_utf8(out).expect("whole literals of valid text were replaced by blanks")
}

/// Where the comment or literal ends that begins at `at`, if one does.
fn literal_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return Some(at + find(rest, b"\n").unwrap_or(rest.len()));
    }
    if rest.starts_with(b"/*") {
        return Some(at + block_comment(rest));
    }
    if at > 0 && is_word(bytes[at - 1]) {
        // In the midst of a name: `r` of `for`, say.
        return (rest[0] == b'"').then(|| at + string(rest));
    }
    let prefix = rest
        .iter()
        .take_while(|byte| matches!(byte, b'b' | b'c' | b'r'))
        .count();
    let body = &rest[prefix..];
    let hashes = body.iter().take_while(|byte| **byte == b'#').count();
    if rest[..prefix].contains(&b'r') && body.get(hashes) == Some(&b'"') {
        let close = format!("\"{}", "#".repeat(hashes));
        let inside = &body[hashes + 1..];
        let len = find(inside, close.as_bytes()).map_or(inside.len(), |found| found + close.len());
        return Some(at + prefix + hashes + 1 + len);
    }
    match body.first() {
        Some(b'"') if prefix <= 1 => Some(at + prefix + string(body)),
        Some(b'\'') if prefix <= 1 => character(body).map(|len| at + prefix + len),
        _ => None,
    }
}

fn block_comment(text: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

fn string(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// The length of a character literal; `None` for a lifetime.
fn character(text: &[u8]) -> Option<usize> {
    if text.get(1) == Some(&b'\\') {
        return find(&text[3..], b"'").map(|found| found + 4);
    }
    let inside = std::str::from_utf8(&text[1..text.len().min(5)])
        .or_else(|e| std::str::from_utf8(&text[1..1 + e.valid_up_to()]))
        .ok()?;
    let len = inside.chars().next()?.len_utf8();
    (text.get(1 + len) == Some(&b'\'')).then_some(len + 2)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where `word` stands in `code`, not as a part of a longer name.
pub(super) fn words<'c>(code: &'c str, word: &'c str) -> impl Iterator<Item = usize> + 'c {
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let bytes = code.as_bytes();
        let before = at.checked_sub(1).map(|i| bytes[i]);
        let after = bytes.get(at + word.len()).copied();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &str) {
        assert_eq!(code(source), expected);
    }

    #[test]
    fn comments_strings_and_characters_are_blanked() {
        check("a // b\nc", "a     \nc");
        check("a /* /* b */ */ c", "a               c");
        check(r#"f("a\"b") + 1"#, "f(      ) + 1");
        check("r#\"a\"b\"# + 1", "         + 1");
        check("b'x' + b\"y\" + c\"z\"", "     +      +     ");
        check("'\\'' + '\"' + 'é'", "     +     +     ");
    }

    #[test]
    fn lifetimes_and_names_stay() {
        check("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}");
        check("for br in r {}", "for br in r {}");
        check("r#type", "r#type");
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(words("unsafe unsafe_code", "unsafe").count(), 1);
    }
}
