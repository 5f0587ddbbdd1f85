//! Strings as bits.

use crate::call::Call;
use crate::commands::args::{Result, STRING_MAX, integer, integer_or, is_word};
use crate::commands::bitfield;
use crate::error::{CommandError, CommandResult};
use crate::keyspace::Expiry;
use crate::notify::Event;
use crate::registry::{Access, Command, Flags, Group, Handler, KeySpec};

const ONE_READ: &[KeySpec] = &[KeySpec::one(1, Access::Read)];
const ONE_UPDATE: &[KeySpec] = &[KeySpec::one(1, Access::Update)];
const BITFIELD_KEYS: &[KeySpec] = &[KeySpec::one(1, Access::Update).varying(|args| {
    let is = |arg: &[u8], word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
    let writes = args.iter().skip(2).any(|arg| is(arg, "set") || is(arg, "incrby"));
    if writes { Access::Update } else { Access::Read }
})];
const OP_KEYS: &[KeySpec] = &[
    KeySpec::one(2, Access::Overwrite),
    KeySpec::range(3, -1, 1, Access::Read),
];
const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);
const READ_FAST: Flags = Flags::READONLY.and(Flags::FAST);

const fn bitmap(
    name: &'static str,
    arity: i32,
    since: &'static str,
    flags: Flags,
    keys: &'static [KeySpec],
    summary: &'static str,
    handler: Handler,
) -> Command {
    Command::new(name, arity, Group::Bitmap, since, summary, handler)
        .flags(flags)
        .keys(keys)
}

pub(crate) const COMMANDS: &[Command] = &[
    bitmap("setbit", 4, "2.2.0", WRITE, ONE_UPDATE, "Sets a bit.", setbit),
    bitmap(
        "getbit",
        3,
        "2.2.0",
        READ_FAST,
        ONE_READ,
        "Returns a bit.",
        getbit,
    ),
    bitmap(
        "bitcount",
        -2,
        "2.6.0",
        Flags::READONLY,
        ONE_READ,
        "Counts the bits that are set.",
        bitcount,
    ),
    bitmap(
        "bitpos",
        -3,
        "2.8.7",
        Flags::READONLY,
        ONE_READ,
        "Finds the first bit that is set or clear.",
        bitpos,
    ),
    bitmap(
        "bitop",
        -4,
        "2.6.0",
        WRITE.and(Flags::LOOKS),
        OP_KEYS,
        "Combines strings bit by bit.",
        bitop,
    ),
    bitmap(
        "bitfield",
        -2,
        "3.2.0",
        WRITE,
        BITFIELD_KEYS,
        "Reads and changes integers in a string.",
        bitfield::bitfield,
    ),
    bitmap(
        "bitfield_ro",
        -2,
        "6.0.0",
        READ_FAST,
        ONE_READ,
        "Reads integers in a string.",
        bitfield::bitfield_ro,
    ),
];

/// The place of a bit. `#` before a number counts in integers of `width` bits.
pub(super) fn bit_offset(arg: &[u8], width: Option<u64>) -> Result<u64> {
    let error = || CommandError::new("ERR bit offset is not an integer or out of range");
    let (digits, unit) = match (arg.strip_prefix(b"#"), width) {
        (Some(digits), Some(width)) => (digits, width),
        _ => (arg, 1),
    };
    let at = weald_resp::parse_i64(digits)
        .and_then(|at| u64::try_from(at).ok())
        .and_then(|at| at.checked_mul(unit));
    at.filter(|at| at / 8 < STRING_MAX).ok_or_else(error)
}

fn setbit(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let offset = bit_offset(call.args[2], None)?;
    let error = "ERR bit is not an integer or out of range";
    let on = match integer_or(call.args[3], error)? {
        0 => 0u8,
        1 => 1,
        _ => return Err(CommandError::new(error)),
    };
    let mut value = call.keyspace.string(db, key)?.unwrap_or_default().to_vec();
    let (byte, shift) = ((offset / 8) as usize, 7 - offset % 8);
    let grows = value.len() <= byte;
    if grows {
        value.resize(byte + 1, 0);
    }
    let old = value[byte] >> shift & 1;
    if grows || old != on {
        value[byte] = value[byte] & !(1 << shift) | on << shift;
        call.keyspace.change_string(db, key, &value)?;
        call.changed(Event::STRING, "setbit", key);
    }
    call.reply.integer(i64::from(old));
    Ok(())
}

fn getbit(call: &mut Call<'_, '_>) -> CommandResult {
    let offset = bit_offset(call.args[2], None)?;
    let value = call
        .keyspace
        .string(call.session.db, call.args[1])?
        .unwrap_or_default();
    let byte = value.get((offset / 8) as usize).copied().unwrap_or(0);
    call.reply.integer(i64::from(byte >> (7 - offset % 8) & 1));
    Ok(())
}

/// Whether a range counts in bits.
fn in_bits(arg: Option<&&[u8]>) -> Result<bool> {
    match arg {
        None => Ok(false),
        Some(word) if is_word(word, "bit") => Ok(true),
        Some(word) if is_word(word, "byte") => Ok(false),
        Some(_) => Err(CommandError::syntax()),
    }
}

/// What two ends mean for so many bytes or bits: both included; nothing where no place is between them.
fn ends(start: i64, end: i64, len: i64) -> Option<(i64, i64)> {
    let from_end = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    if start < 0 && end < 0 && start > end {
        return None;
    }
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    (start <= end).then_some((start, end))
}

fn bit(bytes: &[u8], at: i64) -> u8 {
    bytes[(at / 8) as usize] >> (7 - at % 8) & 1
}

fn bitcount(call: &mut Call<'_, '_>) -> CommandResult {
    let (range, bits) = match &call.args[2..] {
        [] => (None, false),
        [start, end, rest @ ..] if rest.len() < 2 => {
            let range = (integer(start)?, integer(end)?);
            (Some(range), in_bits(rest.first())?)
        }
        _ => return Err(CommandError::syntax()),
    };
    let value = call
        .keyspace
        .string(call.session.db, call.args[1])?
        .unwrap_or_default();
    let len = value.len() as i64 * if bits { 8 } else { 1 };
    let (start, end) = range.unwrap_or((0, -1));
    let count = match ends(start, end, len) {
        None => 0,
        Some((start, end)) => {
            let (start, end) = if bits {
                (start, end)
            } else {
                (start * 8, end * 8 + 7)
            };
            count_bits(value, start, end)
        }
    };
    call.reply.integer(count);
    Ok(())
}

/// Bits that are set from `start` to `end`, both included.
fn count_bits(bytes: &[u8], start: i64, end: i64) -> i64 {
    let (first, last) = ((start / 8) as usize, (end / 8) as usize);
    let whole: u64 = bytes[first..=last]
        .chunks(8)
        .map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from(u64::from_le_bytes(word).count_ones())
        })
        .sum();
    let before = (bytes[first] & !(0xff >> (start % 8))).count_ones();
    let after = (bytes[last] & ((1u16 << (7 - end % 8)) - 1) as u8).count_ones();
    whole as i64 - i64::from(before) - i64::from(after)
}

fn bitpos(call: &mut Call<'_, '_>) -> CommandResult {
    let wanted = match integer(call.args[2])? {
        0 => 0,
        1 => 1,
        _ => return Err(CommandError::new("ERR The bit argument must be 1 or 0.")),
    };
    let rest = &call.args[3..];
    if rest.len() > 3 {
        return Err(CommandError::syntax());
    }
    let bits = in_bits(rest.get(2))?;
    let start = rest.first().map_or(Ok(0), |arg| integer(arg))?;
    let end = rest.get(1).map(|arg| integer(arg)).transpose()?;
    let Some(value) = call.keyspace.string(call.session.db, call.args[1])? else {
        call.reply.integer(-i64::from(wanted == 1));
        return Ok(());
    };
    let len = value.len() as i64 * if bits { 8 } else { 1 };
    // Both ends are put right one by one here, unlike elsewhere.
    let from_end = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let (first, last) = (from_end(start), from_end(end.unwrap_or(-1)).min(len - 1));
    if first > last {
        call.reply.integer(-1);
        return Ok(());
    }
    let (first, last) = if bits {
        (first, last)
    } else {
        (first * 8, last * 8 + 7)
    };
    let skip = if wanted == 1 { 0 } else { 0xff };
    let mut at = first;
    while at <= last {
        if at % 8 == 0 && at + 7 <= last && value[(at / 8) as usize] == skip {
            at += 8;
        } else if bit(value, at) == wanted {
            break;
        } else {
            at += 1;
        }
    }
    // A string without an end is followed by zeros.
    let found = if at <= last {
        at
    } else if wanted == 0 && end.is_none() {
        value.len() as i64 * 8
    } else {
        -1
    };
    call.reply.integer(found);
    Ok(())
}

fn bitop(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, op, target, sources) = (call.session.db, call.args[1], call.args[2], &call.args[3..]);
    let not = is_word(op, "not");
    let combine: fn(u8, u8) -> u8 = match op.to_ascii_lowercase().as_slice() {
        b"and" => |a, b| a & b,
        b"or" => |a, b| a | b,
        b"xor" => |a, b| a ^ b,
        b"not" => |a, _| a,
        _ => return Err(CommandError::syntax()),
    };
    if not && sources.len() != 1 {
        return Err(CommandError::new(
            "ERR BITOP NOT must be called with a single source key.",
        ));
    }
    let mut strings = Vec::with_capacity(sources.len());
    for key in sources {
        strings.push(call.keyspace.string(db, key)?.unwrap_or_default());
    }
    let len = strings.iter().map(|string| string.len()).max().unwrap_or(0);
    let mut value = strings[0].to_vec();
    value.resize(len, 0);
    for string in &strings[1..] {
        for (i, byte) in value.iter_mut().enumerate() {
            *byte = combine(*byte, string.get(i).copied().unwrap_or(0));
        }
    }
    if not {
        value.iter_mut().for_each(|byte| *byte = !*byte);
    }
    if value.is_empty() {
        if call.keyspace.delete(db, target)? {
            call.changed(Event::GENERIC, "del", target);
        }
    } else {
        call.keyspace.set_raw_string(db, target, &value, Expiry::Never)?;
        call.changed(Event::STRING, "set", target);
    }
    call.reply.integer(len as i64);
    Ok(())
}
