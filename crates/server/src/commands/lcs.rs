//! `LCS`: what two strings have in common, in order.

use crate::call::Call;
use crate::commands::args::{integer, is_word};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::Kind;

/// The most cells of the table that the lengths are worked out in: 4 bytes each.
const CELLS_MAX: usize = 1 << 27;

/// A part that is the same in both: where it begins in each, and how long it is.
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

pub(super) fn lcs(call: &mut Call<'_, '_>) -> CommandResult {
    let db = call.session.db;
    let mut strings = [&b""[..]; 2];
    for (string, key) in strings.iter_mut().zip(&call.args[1..3]) {
        if let Some(record) = call.keyspace.find(db, key)? {
            if record.kind != Kind::String {
                return Err(CommandError::new(
                    "ERR The specified keys must contain string values",
                ));
            }
            *string = record.string()?;
        }
    }
    let (mut only_len, mut idx, mut with_len, mut least) = (false, false, false, 0);
    let mut at = 3;
    while let Some(word) = call.args.get(at) {
        if is_word(word, "len") {
            only_len = true;
        } else if is_word(word, "idx") {
            idx = true;
        } else if is_word(word, "withmatchlen") {
            with_len = true;
        } else if is_word(word, "minmatchlen") && at + 1 < call.args.len() {
            least = integer(call.args[at + 1])?.max(0) as usize;
            at += 1;
        } else {
            return Err(CommandError::syntax());
        }
        at += 1;
    }
    if only_len && idx {
        let text = "ERR If you want both the length and indexes, please just use IDX.";
        return Err(CommandError::new(text));
    }
    let [a, b] = strings;
    if (a.len() + 1)
        .checked_mul(b.len() + 1)
        .is_none_or(|cells| cells > CELLS_MAX)
    {
        return Err(CommandError::new(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    let (text, matches) = common(a, b);
    if only_len {
        call.reply.integer(text.len() as i64);
        return Ok(());
    }
    if !idx {
        call.reply.bulk(&text);
        return Ok(());
    }
    let matches: Vec<Match> = matches.into_iter().filter(|found| found.len >= least).collect();
    call.reply.map(2);
    call.reply.bulk(b"matches");
    call.reply.array(matches.len());
    for Match { a, b, len } in matches {
        call.reply.array(if with_len { 3 } else { 2 });
        for start in [a, b] {
            call.reply.array(2);
            call.reply.integer(start as i64);
            call.reply.integer((start + len - 1) as i64);
        }
        if with_len {
            call.reply.integer(len as i64);
        }
    }
    call.reply.bulk(b"len");
    call.reply.integer(text.len() as i64);
    Ok(())
}

/// The longest common subsequence, and its parts from the last to the first.
fn common(a: &[u8], b: &[u8]) -> (Vec<u8>, Vec<Match>) {
    let width = b.len() + 1;
    let mut table = vec![0u32; (a.len() + 1) * width];
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            table[i * width + j] = if a[i - 1] == b[j - 1] {
                table[(i - 1) * width + j - 1] + 1
            } else {
                table[(i - 1) * width + j].max(table[i * width + j - 1])
            };
        }
    }
    let (mut i, mut j) = (a.len(), b.len());
    let mut text = Vec::with_capacity(table[i * width + j] as usize);
    let mut matches: Vec<Match> = Vec::new();
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            text.push(a[i - 1]);
            (i, j) = (i - 1, j - 1);
            match matches.last_mut() {
                Some(last) if last.a == i + 1 && last.b == j + 1 => {
                    (last.a, last.b, last.len) = (i, j, last.len + 1);
                }
                _ => matches.push(Match { a: i, b: j, len: 1 }),
            }
        } else if table[(i - 1) * width + j] > table[i * width + j - 1] {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    text.reverse();
    (text, matches)
}
