//! Requests that are given as a line, as by somebody with telnet.

use std::ops::Range;

/// The words of a line, with quotes and escapes resolved as in a request that is a line; nothing where a quote is not closed.
///
/// ```
/// use weald_resp::split_line;
///
/// assert_eq!(split_line(br#"set "a b" 'c'"#), Some(vec![b"set".to_vec(), b"a b".to_vec(), b"c".to_vec()]));
/// assert_eq!(split_line(b"set \"a"), None);
/// ```
pub fn split_line(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut bytes, mut ranges) = (Vec::new(), Vec::new());
    split(line, &mut bytes, &mut ranges)
        .then(|| ranges.into_iter().map(|range| bytes[range].to_vec()).collect())
}

/// Splits a line at blanks, with quotes and escapes resolved. What it gives lies in `scratch`, at `args`; false where a quote is not closed.
pub(crate) fn split(line: &[u8], scratch: &mut Vec<u8>, args: &mut Vec<Range<usize>>) -> bool {
    let mut rest = line;
    loop {
        while let [blank, after @ ..] = rest
            && is_space(*blank)
        {
            rest = after;
        }
        if rest.is_empty() {
            return true;
        }
        let start = scratch.len();
        match word(rest, scratch) {
            Some(after) => rest = after,
            None => return false,
        }
        args.push(start..scratch.len());
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Takes one word off the line; what is after it.
fn word<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] | [0, ..] => return Some(&[]),
            [b'"', after @ ..] => return closed(double_quoted(after, out)?),
            [b'\'', after @ ..] => return closed(single_quoted(after, out)?),
            [byte, ..] if is_space(*byte) => return Some(rest),
            [byte, after @ ..] => {
                out.push(*byte);
                rest = after;
            }
        }
    }
}

/// A closing quote must be followed by a blank or nothing.
fn closed(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [byte, ..] if !is_space(*byte) => None,
        rest => Some(rest),
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] => return None,
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(hex(*high) << 4 | hex(*low));
                after
            }
            [b'\\', byte, after @ ..] => {
                out.push(match byte {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                after
            }
            [byte, after @ ..] => {
                out.push(*byte);
                after
            }
        };
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] => return None,
            [b'\'', after @ ..] => return Some(after),
            [b'\\', b'\'', after @ ..] => {
                out.push(b'\'');
                after
            }
            [byte, after @ ..] => {
                out.push(*byte);
                after
            }
        };
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &[u8], expected: Option<&[&[u8]]>) {
        let (mut scratch, mut args) = (Vec::new(), Vec::new());
        let found = split(line, &mut scratch, &mut args)
            .then(|| args.iter().map(|arg| &scratch[arg.clone()]).collect::<Vec<_>>());
        assert_eq!(
            found.as_deref(),
            expected,
            "{:?}",
            line.escape_ascii().to_string()
        );
    }

    #[test]
    fn words_quotes_and_escapes() {
        check(b"", Some(&[]));
        check(b"  \t ", Some(&[]));
        check(b"PING", Some(&[b"PING"]));
        check(b" SET  a b\r", Some(&[b"SET", b"a", b"b"]));
        check(br#"SET a "b c\n\x41\"""#, Some(&[b"SET", b"a", b"b c\nA\""]));
        check(br"SET a 'b \' \n'", Some(&[b"SET", b"a", br"b ' \n"]));
        check(br#"a "" ''"#, Some(&[b"a", b"", b""]));
    }

    #[test]
    fn quotes_that_are_not_closed_are_refused() {
        check(br#"SET a "b"#, None);
        check(br"SET a 'b", None);
        check(br#"SET a "b"c"#, None);
        check(br#"SET a "b\"#, None);
    }
}
