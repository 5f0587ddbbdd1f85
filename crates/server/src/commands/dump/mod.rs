//! `DUMP` and `RESTORE`: values in the format of Redis's own files, so that what one server gave the other takes.
//!
//! What `DUMP` gives has the plain encodings that every version knows; what `RESTORE` takes may also have the compact ones of later versions.

mod crc64;
mod lzf;
mod packed;
mod reader;
mod writer;

use crate::call::Call;
use crate::commands::args::{integer, integer_or, is_word};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Expiry, Keyspace, Kind, Order, Record, Slice, Walk};
use crate::notify::Event;
use writer::Writer;

/// The version that payloads are marked with: all of Redis from 5.0 on takes it.
const VERSION: u16 = 9;
/// The newest version that is understood: that of Redis 7.2.
const VERSION_MAX: u16 = 11;
/// Version and checksum at the end of a payload.
const FOOTER: usize = 10;

/// A value out of a payload.
enum Value {
    String(Vec<u8>),
    List(Vec<Vec<u8>>),
    Set(Vec<Vec<u8>>),
    Hash(Vec<(Vec<u8>, Vec<u8>)>),
    ZSet(Vec<(Vec<u8>, f64)>),
}

pub(super) fn dump(call: &mut Call<'_, '_>) -> CommandResult {
    let Some(record) = call.keyspace.find(call.session.db, call.args[1])? else {
        call.reply.null();
        return Ok(());
    };
    let payload = payload(call, &record)?;
    call.reply.bulk(&payload);
    Ok(())
}

/// A value of the client's database, as another server takes it.
pub(super) fn payload(call: &Call<'_, '_>, record: &Record<'_>) -> Result<Vec<u8>, CommandError> {
    let mut payload = pack(call.keyspace, call.session.db, record)?;
    payload.extend_from_slice(&VERSION.to_le_bytes());
    let crc = crc64::checksum(&payload);
    payload.extend_from_slice(&crc.to_le_bytes());
    Ok(payload)
}

/// A value without version and checksum.
pub(crate) fn pack(keyspace: &Keyspace<'_>, db: usize, record: &Record<'_>) -> Result<Vec<u8>, CommandError> {
    let mut out = Writer::default();
    match record.kind {
        Kind::String => {
            out.kind(reader::STRING);
            out.string(record.string()?);
        }
        Kind::List => {
            out.kind(reader::LIST);
            out.len(record.count());
            let all = Slice {
                start: 0,
                end: record.count(),
            };
            keyspace.each_element(db, record, all, false, |_, element| {
                out.string(element);
                true
            })?;
        }
        Kind::Set => {
            out.kind(reader::SET);
            out.len(record.count());
            keyspace.each_of(db, record, |member, _| out.string(member))?;
        }
        Kind::Hash => {
            out.kind(reader::HASH);
            out.len(record.count());
            keyspace.each_of(db, record, |field, value| {
                out.string(field);
                out.string(value);
            })?;
        }
        Kind::ZSet => {
            out.kind(reader::ZSET_2);
            out.len(record.count());
            // From the end, as Redis has it: then each goes to the head of the order when it is read.
            let walk = Walk {
                order: Order::all(),
                reverse: true,
                skip: 0,
                limit: u64::MAX,
            };
            keyspace.walk(db, record, &walk, |scored| {
                out.string(scored.member);
                out.score(scored.score);
            })?;
        }
    }
    Ok(out.into_bytes())
}

/// The type of a value that [`pack`] wrote.
pub(crate) fn packed_kind(packed: &[u8]) -> Option<Kind> {
    match *packed.first()? {
        reader::STRING => Some(Kind::String),
        reader::LIST => Some(Kind::List),
        reader::SET => Some(Kind::Set),
        reader::HASH => Some(Kind::Hash),
        reader::ZSET_2 => Some(Kind::ZSet),
        _ => None,
    }
}

/// Sets a key of the first database to a value that [`pack`] wrote; it expires then, or never if that is 0.
pub(crate) fn unpack(keyspace: &mut Keyspace<'_>, key: &[u8], packed: &[u8], expires: u64) -> CommandResult {
    let value = reader::value(packed).ok_or_else(|| CommandError::new("ERR Bad data format"))?;
    set(keyspace, (0, key), &value, expires)
}

/// The value in a payload whose checksum is right.
fn parse(payload: &[u8]) -> Result<Value, CommandError> {
    let bad = || CommandError::new("ERR DUMP payload version or checksum are wrong");
    let at = payload.len().checked_sub(FOOTER).ok_or_else(bad)?;
    let (body, footer) = payload.split_at(at);
    let version = u16::from_le_bytes([footer[0], footer[1]]);
    let checksum = u64::from_le_bytes(footer[2..].try_into().map_err(|_| bad())?);
    // A checksum of 0 means that there is none.
    if version > VERSION_MAX || (checksum != 0 && checksum != crc64::checksum(&payload[..at + 2])) {
        return Err(bad());
    }
    reader::value(body).ok_or_else(|| CommandError::new("ERR Bad data format"))
}

#[derive(Default)]
struct RestoreOptions {
    replace: bool,
    absolute: bool,
    idle_s: Option<u64>,
    freq: Option<u8>,
}

fn options(args: &[&[u8]]) -> Result<RestoreOptions, CommandError> {
    let mut found = RestoreOptions::default();
    let mut rest = args;
    while let [word, after @ ..] = rest {
        let mut taken = 0;
        if is_word(word, "replace") {
            found.replace = true;
        } else if is_word(word, "absttl") {
            found.absolute = true;
        } else if is_word(word, "idletime") && !after.is_empty() {
            let error = "ERR Invalid IDLETIME value, must be >= 0";
            let idle_s = u64::try_from(integer(after[0])?).map_err(|_| CommandError::new(error))?;
            found.idle_s = Some(idle_s);
            taken = 1;
        } else if is_word(word, "freq") && !after.is_empty() {
            let error = "ERR Invalid FREQ value, must be >= 0 and <= 255";
            let freq = u8::try_from(integer_or(after[0], error)?).map_err(|_| CommandError::new(error))?;
            found.freq = Some(freq);
            taken = 1;
        } else {
            return Err(CommandError::syntax());
        }
        rest = &after[taken..];
    }
    Ok(found)
}

pub(super) fn restore(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let options = options(&call.args[4..])?;
    let exists = call.keyspace.find(db, key)?.is_some();
    if exists && !options.replace {
        return Err(CommandError::new("BUSYKEY Target key name already exists."));
    }
    let ttl = integer(call.args[2])?;
    let Ok(ttl) = u64::try_from(ttl) else {
        return Err(CommandError::new("ERR Invalid TTL value, must be >= 0"));
    };
    let value = parse(call.args[3])?;
    let expires = match ttl {
        0 => 0,
        ttl if options.absolute => ttl,
        ttl => call.now_ms.saturating_add(ttl),
    };
    if expires != 0 && expires <= call.now_ms {
        if exists {
            call.keyspace.delete(db, key)?;
            call.changed(Event::GENERIC, "del", key);
        }
        call.reply.ok();
        return Ok(());
    }
    set(call.keyspace, (db, key), &value, expires)?;
    if options.idle_s.is_some() || options.freq.is_some() {
        call.keyspace
            .set_use(db, key, options.idle_s.unwrap_or(0), options.freq);
    }
    call.changed(Event::GENERIC, "restore", key);
    call.reply.ok();
    Ok(())
}

fn set(keyspace: &mut Keyspace<'_>, (db, key): (usize, &[u8]), value: &Value, expires: u64) -> CommandResult {
    let mut entry = match value {
        Value::String(value) => {
            let expiry = if expires == 0 {
                Expiry::Never
            } else {
                Expiry::At(expires)
            };
            return keyspace.set_string(db, key, value, expiry);
        }
        Value::List(_) => keyspace.fresh_entry(db, key, Kind::List)?,
        Value::Set(_) => keyspace.fresh_entry(db, key, Kind::Set)?,
        Value::Hash(_) => keyspace.fresh_entry(db, key, Kind::Hash)?,
        Value::ZSet(_) => keyspace.fresh_entry(db, key, Kind::ZSet)?,
    };
    entry.expires = expires;
    match value {
        Value::String(_) => {}
        Value::List(elements) => {
            for element in elements {
                keyspace.push_element(&mut entry, false, element)?;
            }
        }
        Value::Set(members) => {
            for member in members {
                keyspace.add_to_set(&mut entry, member)?;
            }
        }
        Value::Hash(fields) => {
            for (field, value) in fields {
                keyspace.put_field(&mut entry, field, value)?;
            }
        }
        Value::ZSet(members) => {
            for (member, score) in members {
                keyspace.put_score(&mut entry, member, *score)?;
            }
        }
    }
    keyspace.save(&entry)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_of_redis_are_read() {
        // `DUMP` of Redis 7.0 for `SET k hello`, and for `RPUSH l a b 300`.
        let hello = b"\x00\x05hello\x0a\x00";
        let mut payload = hello.to_vec();
        payload.extend_from_slice(&crc64::checksum(hello).to_le_bytes());
        assert!(matches!(parse(&payload), Ok(Value::String(value)) if value == b"hello"));
        payload[3] ^= 1;
        assert!(parse(&payload).is_err());
        assert!(parse(b"").is_err());
    }
}
