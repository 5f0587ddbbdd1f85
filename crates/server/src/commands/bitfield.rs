//! `BITFIELD`: integers of any width within a string.

use crate::call::Call;
use crate::commands::args::{Result, integer, is_word};
use crate::commands::bitmaps::bit_offset;
use crate::error::{CommandError, CommandResult};
use crate::notify::Event;

/// The type of an integer.
#[derive(Clone, Copy)]
struct Width {
    signed: bool,
    bits: u32,
}

/// What happens to a number that is too large.
#[derive(Clone, Copy)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

enum What {
    Get,
    Set(i64),
    Add(i64),
}

struct Operation {
    what: What,
    width: Width,
    at: u64,
    overflow: Overflow,
}

fn width(arg: &[u8]) -> Result<Width> {
    let error =
        "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";
    let error = || CommandError::new(error);
    let (signed, digits) = match arg {
        [b'i', digits @ ..] => (true, digits),
        [b'u', digits @ ..] => (false, digits),
        _ => return Err(error()),
    };
    let bits = weald_resp::parse_i64(digits).ok_or_else(error)?;
    let max = if signed { 64 } else { 63 };
    if !(1..=max).contains(&bits) {
        return Err(error());
    }
    Ok(Width {
        signed,
        bits: bits as u32,
    })
}

fn operations(args: &[&[u8]], read_only: bool) -> Result<Vec<Operation>> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut rest = args;
    while let [word, after @ ..] = rest {
        if is_word(word, "overflow") && !after.is_empty() {
            overflow = match after[0].to_ascii_lowercase().as_slice() {
                b"wrap" => Overflow::Wrap,
                b"sat" => Overflow::Saturate,
                b"fail" => Overflow::Fail,
                _ => return Err(CommandError::new("ERR Invalid OVERFLOW type specified")),
            };
            rest = &after[1..];
            continue;
        }
        let values = match word.to_ascii_lowercase().as_slice() {
            b"get" => 2,
            b"set" | b"incrby" => 3,
            _ => return Err(CommandError::syntax()),
        };
        if after.len() < values {
            return Err(CommandError::syntax());
        }
        let width = width(after[0])?;
        let at = bit_offset(after[1], Some(u64::from(width.bits)))?;
        let what = match values {
            2 => What::Get,
            _ if read_only => {
                return Err(CommandError::new(
                    "ERR BITFIELD_RO only supports the GET subcommand",
                ));
            }
            _ if is_word(word, "set") => What::Set(integer(after[2])?),
            _ => What::Add(integer(after[2])?),
        };
        operations.push(Operation {
            what,
            width,
            at,
            overflow,
        });
        rest = &after[values..];
    }
    Ok(operations)
}

fn read(bytes: &[u8], at: u64, width: Width) -> i64 {
    let mut value = 0u64;
    for i in at..at + u64::from(width.bits) {
        let byte = bytes.get((i / 8) as usize).copied().unwrap_or(0);
        value = value << 1 | u64::from(byte >> (7 - i % 8) & 1);
    }
    if width.signed && width.bits < 64 && value >> (width.bits - 1) & 1 == 1 {
        value |= u64::MAX << width.bits;
    }
    value as i64
}

fn write(bytes: &mut Vec<u8>, at: u64, width: Width, value: i64) {
    let end = ((at + u64::from(width.bits)).div_ceil(8)) as usize;
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    for i in 0..u64::from(width.bits) {
        let on = (value as u64 >> (u64::from(width.bits) - 1 - i) & 1) as u8;
        let (byte, shift) = (((at + i) / 8) as usize, 7 - (at + i) % 8);
        bytes[byte] = bytes[byte] & !(1 << shift) | on << shift;
    }
}

/// A number as one of its width, if it fits or is made to.
fn fit(value: i128, width: Width, overflow: Overflow) -> Option<i64> {
    let (min, max) = if width.signed {
        (-(1i128 << (width.bits - 1)), (1i128 << (width.bits - 1)) - 1)
    } else {
        (0, (1i128 << width.bits) - 1)
    };
    if (min..=max).contains(&value) {
        return Some(value as i64);
    }
    match overflow {
        Overflow::Fail => None,
        Overflow::Saturate => Some(value.clamp(min, max) as i64),
        Overflow::Wrap => {
            let wrapped = value & ((1i128 << width.bits) - 1);
            Some(if wrapped > max {
                wrapped - (1i128 << width.bits)
            } else {
                wrapped
            } as i64)
        }
    }
}

fn run(call: &mut Call<'_, '_>, read_only: bool) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let operations = operations(&call.args[2..], read_only)?;
    let mut value = call.keyspace.string(db, key)?.unwrap_or_default().to_vec();
    let mut changed = false;
    call.reply.array(operations.len());
    for operation in operations {
        let Operation {
            what,
            width,
            at,
            overflow,
        } = operation;
        let old = read(&value, at, width);
        let (new, answer) = match what {
            What::Get => {
                call.reply.integer(old);
                continue;
            }
            What::Set(new) => {
                // For a number without a sign the bits are taken as one.
                let new = if width.signed {
                    i128::from(new)
                } else {
                    i128::from(new as u64)
                };
                (fit(new, width, overflow), old)
            }
            What::Add(by) => {
                let new = fit(i128::from(old) + i128::from(by), width, overflow);
                (new, new.unwrap_or(0))
            }
        };
        match new {
            None => call.reply.null(),
            Some(new) => {
                let len = value.len();
                write(&mut value, at, width, new);
                changed |= new != old || value.len() != len;
                call.reply.integer(answer);
            }
        }
    }
    if changed {
        call.keyspace.change_string(db, key, &value)?;
        call.changed(Event::STRING, "setbit", key);
    }
    Ok(())
}

pub(super) fn bitfield(call: &mut Call<'_, '_>) -> CommandResult {
    run(call, false)
}

pub(super) fn bitfield_ro(call: &mut Call<'_, '_>) -> CommandResult {
    run(call, true)
}
