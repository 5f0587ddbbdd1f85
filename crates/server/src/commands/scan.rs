//! What `SCAN` and its like have in common.

use weald_resp::Reply;

use crate::call::Call;
use crate::commands::args::{Result, integer, is_word};
use crate::error::{CommandError, CommandResult};
use crate::glob;
use crate::keyspace::Kind;

/// Options of a scan.
pub(super) struct ScanOptions<'a> {
    pattern: Option<&'a [u8]>,
    pub(super) count: usize,
    pub(super) kind: Option<&'a [u8]>,
}

pub(super) fn cursor(arg: &[u8]) -> Result<u64> {
    let digits = std::str::from_utf8(arg)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| CommandError::new("ERR invalid cursor"))
}

impl<'a> ScanOptions<'a> {
    pub(super) fn of(args: &[&'a [u8]], of_keys: bool) -> Result<ScanOptions<'a>> {
        let mut options = ScanOptions {
            pattern: None,
            count: 10,
            kind: None,
        };
        for pair in args.chunks(2) {
            let [word, value] = *pair else {
                return Err(CommandError::syntax());
            };
            if is_word(word, "count") {
                let count = integer(value)?;
                if count < 1 {
                    return Err(CommandError::syntax());
                }
                options.count = count as usize;
            } else if is_word(word, "match") {
                options.pattern = Some(value);
            } else if is_word(word, "type") && of_keys {
                options.kind = Some(value);
            } else {
                return Err(CommandError::syntax());
            }
        }
        Ok(options)
    }

    pub(super) fn wants(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name))
    }
}

/// Writes the cursor before the `len` elements that were written since `mark`.
pub(super) fn with_cursor(reply: &mut Reply, mark: weald_resp::Mark, len: usize, cursor: u64) {
    reply.array_at(mark, len);
    let mut head = Reply::new(reply.protocol());
    head.array(2);
    head.bulk(cursor.to_string().as_bytes());
    reply.raw_at(mark, head.bytes());
}

/// Answers a scan of a collection; `write` writes what belongs to a member, and says how many elements that were.
pub(super) fn members(
    call: &mut Call<'_, '_>,
    kind: Kind,
    cursor: u64,
    options: &ScanOptions<'_>,
    mut write: impl FnMut(&mut Reply, &[u8]) -> Result<usize>,
) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let mark = call.reply.mark();
    let Some(record) = call.keyspace.find_kind(db, key, kind)? else {
        with_cursor(call.reply, mark, 0, 0);
        return Ok(());
    };
    let reply = &mut *call.reply;
    let (mut len, mut failed) = (0, None);
    let next = call
        .keyspace
        .scan_members(db, &record, cursor, options.count, |member, value| {
            if options.wants(member) {
                reply.bulk(member);
                len += 1;
                match write(reply, value) {
                    Ok(more) => len += more,
                    Err(e) => failed = Some(e),
                }
            }
        })?;
    match failed {
        Some(e) => Err(e),
        None => {
            with_cursor(call.reply, mark, len, next);
            Ok(())
        }
    }
}
