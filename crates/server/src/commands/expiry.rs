//! When keys expire.

use crate::call::Call;
use crate::commands::args::{Result, TimeUnit, integer};
use crate::error::{CommandError, CommandResult};
use crate::notify::Event;
use crate::registry::{Access, Command, Flags, Group, Handler, KeySpec};

const ONE_READ: &[KeySpec] = &[KeySpec::one(1, Access::Read)];
const WRITE: Flags = Flags::WRITE.and(Flags::FAST);
const READ: Flags = Flags::READONLY.and(Flags::FAST);

const fn key(
    name: &'static str,
    arity: i32,
    since: &'static str,
    flags: Flags,
    summary: &'static str,
    handler: Handler,
) -> Command {
    let keys = if flags.has(Flags::WRITE) {
        KeySpec::ONE_CHANGE
    } else {
        ONE_READ
    };
    Command::new(name, arity, Group::Generic, since, summary, handler)
        .flags(flags)
        .keys(keys)
}

pub(crate) const COMMANDS: &[Command] = &[
    key(
        "expire",
        -3,
        "1.0.0",
        WRITE,
        "Sets after how many seconds a key expires.",
        expire,
    ),
    key(
        "pexpire",
        -3,
        "2.6.0",
        WRITE,
        "Sets after how many milliseconds a key expires.",
        expire,
    ),
    key(
        "expireat",
        -3,
        "1.2.0",
        WRITE,
        "Sets at which second a key expires.",
        expire,
    ),
    key(
        "pexpireat",
        -3,
        "2.6.0",
        WRITE,
        "Sets at which millisecond a key expires.",
        expire,
    ),
    key("persist", 2, "2.2.0", WRITE, "Lets a key not expire.", persist),
    key(
        "ttl",
        2,
        "1.0.0",
        READ.and(Flags::ASKS),
        "Returns after how many seconds a key expires.",
        ttl,
    ),
    key(
        "pttl",
        2,
        "2.6.0",
        READ.and(Flags::ASKS),
        "Returns after how many milliseconds a key expires.",
        ttl,
    ),
    key(
        "expiretime",
        2,
        "7.0.0",
        READ.and(Flags::ASKS),
        "Returns at which second a key expires.",
        ttl,
    ),
    key(
        "pexpiretime",
        2,
        "7.0.0",
        READ.and(Flags::ASKS),
        "Returns at which millisecond a key expires.",
        ttl,
    ),
];

/// On which condition a time is set.
#[derive(Default)]
struct Condition {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

fn condition(args: &[&[u8]]) -> Result<Condition> {
    let mut found = Condition::default();
    for word in args {
        match word.to_ascii_lowercase().as_slice() {
            b"nx" => found.nx = true,
            b"xx" => found.xx = true,
            b"gt" => found.gt = true,
            b"lt" => found.lt = true,
            _ => {
                let word = String::from_utf8_lossy(word);
                return Err(CommandError::new(format!("ERR Unsupported option {word}")));
            }
        }
    }
    if found.nx && (found.xx || found.gt || found.lt) {
        let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
        return Err(CommandError::new(text));
    }
    if found.gt && found.lt {
        return Err(CommandError::new(
            "ERR GT and LT options at the same time are not compatible",
        ));
    }
    Ok(found)
}

impl Condition {
    /// Whether a time that was 0 for never may become another.
    fn holds(&self, was: u64, at: i64) -> bool {
        let later = was != 0 && at > was as i64;
        let earlier = was == 0 || at < was as i64;
        !((self.nx && was != 0) || (self.xx && was == 0) || (self.gt && !later) || (self.lt && !earlier))
    }
}

fn expire(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key, name) = (call.session.db, call.args[1], call.found.command.name);
    let unit = match name {
        "expire" => TimeUnit::EX,
        "pexpire" => TimeUnit::PX,
        "expireat" => TimeUnit::EXAT,
        _ => TimeUnit::PXAT,
    };
    let condition = condition(&call.args[3..])?;
    let when = integer(call.args[2])?;
    let base = if unit.absolute { 0 } else { call.now_ms as i64 };
    let at = when
        .checked_mul(unit.ms_each)
        .and_then(|ms| ms.checked_add(base))
        .ok_or_else(|| CommandError::new(format!("ERR invalid expire time in '{name}' command")))?;
    let was = call.keyspace.find(db, key)?.map(|record| record.expires);
    let Some(was) = was.filter(|was| condition.holds(*was, at)) else {
        call.reply.integer(0);
        return Ok(());
    };
    if at <= call.now_ms as i64 {
        call.keyspace.delete(db, key)?;
        call.changed(Event::GENERIC, "del", key);
    } else {
        debug_assert!(
            was == 0 || was > call.now_ms,
            "a key that has expired is not found"
        );
        call.keyspace.expire_at(db, key, at as u64)?;
        call.changed(Event::GENERIC, "expire", key);
    }
    call.reply.integer(1);
    Ok(())
}

fn persist(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let expires = call
        .keyspace
        .find(db, key)?
        .is_some_and(|record| record.expires != 0);
    if expires {
        call.keyspace.expire_at(db, key, 0)?;
        call.changed(Event::GENERIC, "persist", key);
    }
    call.reply.integer(i64::from(expires));
    Ok(())
}

fn ttl(call: &mut Call<'_, '_>) -> CommandResult {
    let name = call.found.command.name;
    let expires = call
        .keyspace
        .find(call.session.db, call.args[1])?
        .map(|record| record.expires);
    let answer = match expires {
        None => -2,
        Some(0) => -1,
        Some(at) => {
            let at = at as i64;
            let ms = if name.ends_with("expiretime") {
                at
            } else {
                (at - call.now_ms as i64).max(0)
            };
            if name.starts_with('p') {
                ms
            } else {
                ms.saturating_add(500) / 1000
            }
        }
    };
    call.reply.integer(answer);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_as_redis_says() {
        let check = |words: &[&[u8]], was: u64, at: i64, expected: bool| {
            let condition = condition(words).expect("these go together");
            assert_eq!(condition.holds(was, at), expected, "{words:?} {was} {at}");
        };
        check(&[b"NX"], 0, 5, true);
        check(&[b"NX"], 9, 5, false);
        check(&[b"XX"], 0, 5, false);
        check(&[b"xx", b"gt"], 4, 5, true);
        check(&[b"GT"], 0, 5, false);
        check(&[b"GT"], 5, 5, false);
        check(&[b"LT"], 0, 5, true);
        check(&[b"LT"], 5, 5, false);
        assert!(condition(&[b"NX", b"GT"]).is_err() && condition(&[b"GT", b"LT"]).is_err());
    }
}
