//! Sorted sets: members and scores. Ranges are in `zranges`, what combines several in `zcombine`.

use crate::call::Call;
use crate::commands::args::{Result, float, is_word, parse_float, positive};
use crate::commands::hashes::{self, Sample};
use crate::commands::scan::{self, ScanOptions};
use crate::commands::{zcombine, zpops, zranges};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Entry, Kind, Scored, score_in};
use crate::notify::Event;
use crate::registry::{Access, Command, Flags, Group, Handler, KeySpec};

const ONE_READ: &[KeySpec] = &[KeySpec::one(1, Access::Read)];
const ONE_UPDATE: &[KeySpec] = &[KeySpec::one(1, Access::Update)];
const COUNTED_READ: &[KeySpec] = &[KeySpec::counted(1, Access::Read)];
const COUNTED_UPDATE: &[KeySpec] = &[KeySpec::counted(1, Access::Take)];
const COUNTED_WAIT: &[KeySpec] = &[KeySpec::counted(2, Access::Take)];
const UNTIL_TIMEOUT: &[KeySpec] = &[KeySpec::range(1, -2, 1, Access::Take)];
const STORE: &[KeySpec] = &[
    KeySpec::one(1, Access::Overwrite),
    KeySpec::counted(2, Access::Read),
];
const RANGE_STORE: &[KeySpec] = &[KeySpec::one(1, Access::Overwrite), KeySpec::one(2, Access::Read)];
const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = Flags::READONLY.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE;
const WRITE_FAST: Flags = Flags::WRITE.and(Flags::FAST);
const GROW: Flags = Flags::WRITE.and(Flags::DENYOOM);
const BLOCK: Flags = Flags::WRITE.and(Flags::BLOCKING);

const fn zset(
    name: &'static str,
    arity: i32,
    since: &'static str,
    flags: Flags,
    keys: &'static [KeySpec],
    summary: &'static str,
    handler: Handler,
) -> Command {
    Command::new(name, arity, Group::SortedSet, since, summary, handler)
        .flags(flags)
        .keys(keys)
}

pub(crate) const COMMANDS: &[Command] = &[
    zset(
        "zadd",
        -4,
        "1.2.0",
        GROW.and(Flags::FAST),
        KeySpec::ONE_CHANGE,
        "Adds members, or gives them other scores.",
        zadd,
    ),
    zset(
        "zincrby",
        4,
        "1.2.0",
        GROW.and(Flags::FAST),
        ONE_UPDATE,
        "Adds to a score.",
        zincrby,
    ),
    zset(
        "zrem",
        -3,
        "1.2.0",
        WRITE_FAST,
        KeySpec::ONE_CUT,
        "Removes members.",
        zrem,
    ),
    zset(
        "zcard",
        2,
        "1.2.0",
        READ_FAST,
        KeySpec::ONE_LOOK,
        "Returns the number of members.",
        zcard,
    ),
    zset(
        "zscore",
        3,
        "1.2.0",
        READ_FAST,
        ONE_READ,
        "Returns the score of a member.",
        zscore,
    ),
    zset(
        "zmscore",
        -3,
        "6.2.0",
        READ_FAST,
        ONE_READ,
        "Returns the scores of members.",
        zmscore,
    ),
    zset(
        "zrank",
        -3,
        "2.0.0",
        READ_FAST,
        ONE_READ,
        "Returns the rank of a member.",
        zrank,
    ),
    zset(
        "zrevrank",
        -3,
        "2.0.0",
        READ_FAST,
        ONE_READ,
        "Returns the rank of a member from the end.",
        zrank,
    ),
    zset(
        "zrandmember",
        -2,
        "6.2.0",
        READ,
        ONE_READ,
        "Returns members at random.",
        zrandmember,
    ),
    zset(
        "zscan",
        -3,
        "2.8.0",
        READ,
        ONE_READ,
        "Walks through the members of a sorted set.",
        zscan,
    ),
    zset(
        "zcount",
        4,
        "2.0.0",
        READ_FAST,
        ONE_READ,
        "Counts members by score.",
        zranges::zcount,
    ),
    zset(
        "zlexcount",
        4,
        "2.8.9",
        READ_FAST,
        ONE_READ,
        "Counts members by name.",
        zranges::zcount,
    ),
    zset(
        "zrange",
        -4,
        "1.2.0",
        READ,
        ONE_READ,
        "Returns members of a range.",
        zranges::zrange,
    ),
    zset(
        "zrangebyscore",
        -4,
        "1.0.5",
        READ,
        ONE_READ,
        "Returns members by score.",
        zranges::zrange,
    ),
    zset(
        "zrevrangebyscore",
        -4,
        "2.2.0",
        READ,
        ONE_READ,
        "Returns members by score, from the end.",
        zranges::zrange,
    ),
    zset(
        "zrangebylex",
        -4,
        "2.8.9",
        READ,
        ONE_READ,
        "Returns members by name.",
        zranges::zrange,
    ),
    zset(
        "zrevrangebylex",
        -4,
        "2.8.9",
        READ,
        ONE_READ,
        "Returns members by name, from the end.",
        zranges::zrange,
    ),
    zset(
        "zrevrange",
        -4,
        "1.2.0",
        READ,
        ONE_READ,
        "Returns members by rank, from the end.",
        zranges::zrange,
    ),
    zset(
        "zrangestore",
        -5,
        "6.2.0",
        GROW.and(Flags::LOOKS),
        RANGE_STORE,
        "Stores members of a range.",
        zranges::zrangestore,
    ),
    zset(
        "zremrangebyrank",
        4,
        "2.0.0",
        WRITE,
        KeySpec::ONE_CUT,
        "Removes members by rank.",
        zranges::zremrange,
    ),
    zset(
        "zremrangebyscore",
        4,
        "1.2.0",
        WRITE,
        KeySpec::ONE_CUT,
        "Removes members by score.",
        zranges::zremrange,
    ),
    zset(
        "zremrangebylex",
        4,
        "2.8.9",
        WRITE,
        KeySpec::ONE_CUT,
        "Removes members by name.",
        zranges::zremrange,
    ),
    zset(
        "zpopmin",
        -2,
        "5.0.0",
        WRITE_FAST,
        KeySpec::ONE_TAKE,
        "Takes the members with the lowest scores.",
        zpops::zpop,
    ),
    zset(
        "zpopmax",
        -2,
        "5.0.0",
        WRITE_FAST,
        KeySpec::ONE_TAKE,
        "Takes the members with the highest scores.",
        zpops::zpop,
    ),
    zset(
        "bzpopmin",
        -3,
        "5.0.0",
        BLOCK.and(Flags::FAST),
        UNTIL_TIMEOUT,
        "Takes the member with the lowest score, or waits for one.",
        zpops::bzpop,
    ),
    zset(
        "bzpopmax",
        -3,
        "5.0.0",
        BLOCK.and(Flags::FAST),
        UNTIL_TIMEOUT,
        "Takes the member with the highest score, or waits for one.",
        zpops::bzpop,
    ),
    zset(
        "zmpop",
        -4,
        "7.0.0",
        WRITE,
        COUNTED_UPDATE,
        "Takes members from the first sorted set that has any.",
        zpops::zmpop,
    ),
    zset(
        "bzmpop",
        -5,
        "7.0.0",
        BLOCK,
        COUNTED_WAIT,
        "Takes members from the first sorted set that has any, or waits.",
        zpops::zmpop,
    ),
    zset(
        "zunion",
        -3,
        "6.2.0",
        READ,
        COUNTED_READ,
        "Returns what any of the sorted sets has.",
        zcombine::give,
    ),
    zset(
        "zinter",
        -3,
        "6.2.0",
        READ,
        COUNTED_READ,
        "Returns what all sorted sets have.",
        zcombine::give,
    ),
    zset(
        "zdiff",
        -3,
        "6.2.0",
        READ,
        COUNTED_READ,
        "Returns what only the first sorted set has.",
        zcombine::give,
    ),
    zset(
        "zunionstore",
        -4,
        "2.0.0",
        GROW.and(Flags::LOOKS),
        STORE,
        "Stores what any of the sorted sets has.",
        zcombine::store,
    ),
    zset(
        "zinterstore",
        -4,
        "2.0.0",
        GROW.and(Flags::LOOKS),
        STORE,
        "Stores what all sorted sets have.",
        zcombine::store,
    ),
    zset(
        "zdiffstore",
        -4,
        "6.2.0",
        GROW.and(Flags::LOOKS),
        STORE,
        "Stores what only the first sorted set has.",
        zcombine::store,
    ),
    zset(
        "zintercard",
        -3,
        "7.0.0",
        READ,
        COUNTED_READ,
        "Counts what all sorted sets have.",
        zcombine::zintercard,
    ),
];

/// The options of `ZADD`.
#[derive(Default)]
pub(super) struct AddOptions {
    pub(super) nx: bool,
    pub(super) xx: bool,
    gt: bool,
    lt: bool,
    pub(super) ch: bool,
    incr: bool,
}

fn add_options<'a>(args: &'a [&'a [u8]]) -> Result<(AddOptions, &'a [&'a [u8]])> {
    let mut options = AddOptions::default();
    let mut rest = args;
    while let [word, after @ ..] = rest {
        match word.to_ascii_lowercase().as_slice() {
            b"nx" => options.nx = true,
            b"xx" => options.xx = true,
            b"gt" => options.gt = true,
            b"lt" => options.lt = true,
            b"ch" => options.ch = true,
            b"incr" => options.incr = true,
            _ => break,
        }
        rest = after;
    }
    if rest.is_empty() || rest.len() % 2 == 1 {
        return Err(CommandError::syntax());
    }
    if options.nx && options.xx {
        return Err(CommandError::new(
            "ERR XX and NX options at the same time are not compatible",
        ));
    }
    if (options.gt && options.lt) || (options.nx && (options.gt || options.lt)) {
        let text = "ERR GT, LT, and/or NX options at the same time are not compatible";
        return Err(CommandError::new(text));
    }
    if options.incr && rest.len() > 2 {
        return Err(CommandError::new(
            "ERR INCR option supports a single increment-element pair",
        ));
    }
    Ok((options, rest))
}

/// What became of a member.
enum Added {
    New,
    Changed,
    Same,
    /// The options did not let it.
    Refused,
}

fn add_one(
    call: &mut Call<'_, '_>,
    entry: &mut Entry,
    options: &AddOptions,
    member: &[u8],
    score: f64,
) -> Result<(Added, f64)> {
    let old = call.keyspace.score(call.session.db, &entry.record(), member)?;
    let Some(old) = old else {
        if options.xx {
            return Ok((Added::Refused, score));
        }
        call.keyspace.put_score(entry, member, score)?;
        return Ok((Added::New, score));
    };
    if options.nx {
        return Ok((Added::Refused, old));
    }
    let score = if options.incr { old + score } else { score };
    if score.is_nan() {
        return Err(CommandError::new("ERR resulting score is not a number (NaN)"));
    }
    if (options.gt && score <= old) || (options.lt && score >= old) {
        return Ok((Added::Refused, old));
    }
    if score == old {
        return Ok((Added::Same, score));
    }
    call.keyspace.put_score(entry, member, score)?;
    Ok((Added::Changed, score))
}

/// Scores and members among the arguments.
fn scores<'a>(pairs: &[&'a [u8]]) -> Result<Vec<(f64, &'a [u8])>> {
    pairs
        .chunks_exact(2)
        .map(|pair| Ok((float(pair[0])?, pair[1])))
        .collect()
}

/// Adds members with their scores.
pub(super) fn add(call: &mut Call<'_, '_>, options: &AddOptions, scores: &[(f64, &[u8])]) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let mut entry = call.keyspace.entry_or_new(db, key, Kind::ZSet)?;
    let (mut new, mut changed, mut result) = (0, 0, None);
    for (score, member) in scores {
        let (added, score) = add_one(call, &mut entry, options, member, *score)?;
        match added {
            Added::New => new += 1,
            Added::Changed => changed += 1,
            Added::Same => {}
            Added::Refused => continue,
        }
        result = Some(score);
    }
    if new + changed > 0 {
        call.keyspace.save(&entry)?;
        call.changed(Event::ZSET, if options.incr { "zincr" } else { "zadd" }, key);
    }
    match (options.incr, result) {
        (true, Some(score)) => call.reply.double(score),
        (true, None) => call.reply.null(),
        (false, _) => call.reply.integer(if options.ch { new + changed } else { new }),
    }
    Ok(())
}

fn zadd(call: &mut Call<'_, '_>) -> CommandResult {
    let (options, pairs) = add_options(&call.args[2..])?;
    add(call, &options, &scores(pairs)?)
}

fn zincrby(call: &mut Call<'_, '_>) -> CommandResult {
    let options = AddOptions {
        incr: true,
        ..AddOptions::default()
    };
    add(call, &options, &scores(&call.args[2..])?)
}

fn zrem(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let Some(mut entry) = call.keyspace.entry(db, key, Kind::ZSet)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let mut gone = 0;
    for member in &call.args[2..] {
        gone += i64::from(call.keyspace.remove_score(&mut entry, member)?.is_some());
    }
    if gone > 0 {
        save_shrunk(call, &entry, key, "zrem")?;
    }
    call.reply.integer(gone);
    Ok(())
}

/// Saves a sorted set after something was taken from it.
pub(super) fn save_shrunk(call: &mut Call<'_, '_>, entry: &Entry, key: &[u8], event: &str) -> CommandResult {
    let left = call.keyspace.save(entry)?;
    call.changed(Event::ZSET, event, key);
    if !left {
        call.notify(Event::GENERIC, "del", key);
    }
    Ok(())
}

fn zcard(call: &mut Call<'_, '_>) -> CommandResult {
    let record = call
        .keyspace
        .find_kind(call.session.db, call.args[1], Kind::ZSet)?;
    call.reply
        .integer(record.map_or(0, |record| record.count() as i64));
    Ok(())
}

fn score_or_null(call: &mut Call<'_, '_>, score: Option<f64>) {
    match score {
        Some(score) => call.reply.double(score),
        None => call.reply.null(),
    }
}

fn zscore(call: &mut Call<'_, '_>) -> CommandResult {
    let db = call.session.db;
    let score = match call.keyspace.find_kind(db, call.args[1], Kind::ZSet)? {
        Some(record) => call.keyspace.score(db, &record, call.args[2])?,
        None => None,
    };
    score_or_null(call, score);
    Ok(())
}

fn zmscore(call: &mut Call<'_, '_>) -> CommandResult {
    let db = call.session.db;
    let entry = call.keyspace.entry(db, call.args[1], Kind::ZSet)?;
    call.reply.array(call.args.len() - 2);
    for member in &call.args[2..] {
        let score = match &entry {
            Some(entry) => call.keyspace.score(db, &entry.record(), member)?,
            None => None,
        };
        score_or_null(call, score);
    }
    Ok(())
}

fn zrank(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, member) = (call.session.db, call.args[2]);
    let with_score = match &call.args[3..] {
        [] => false,
        [word] if is_word(word, "withscore") => true,
        _ => return Err(CommandError::syntax()),
    };
    let record = call.keyspace.find_kind(db, call.args[1], Kind::ZSet)?;
    let score = match &record {
        Some(record) => call.keyspace.score(db, record, member)?,
        None => None,
    };
    let (Some(record), Some(score)) = (record, score) else {
        if with_score {
            call.reply.null_array();
        } else {
            call.reply.null();
        }
        return Ok(());
    };
    let mut rank = call.keyspace.rank(db, &record, Scored { member, score })?;
    if call.found.command.name == "zrevrank" {
        rank = record.count().saturating_sub(rank + 1);
    }
    if with_score {
        call.reply.array(2);
        call.reply.integer(rank as i64);
        call.reply.double(score);
    } else {
        call.reply.integer(rank as i64);
    }
    Ok(())
}

fn zrandmember(call: &mut Call<'_, '_>) -> CommandResult {
    let sample = Sample::of(&call.args[2..], "withscores")?;
    hashes::random(call, Kind::ZSet, sample, |reply, value| {
        reply.double(score_in(value)?);
        Ok(())
    })
}

fn zscan(call: &mut Call<'_, '_>) -> CommandResult {
    let cursor = scan::cursor(call.args[2])?;
    let options = ScanOptions::of(&call.args[3..], false)?;
    scan::members(call, Kind::ZSet, cursor, &options, |reply, value| {
        reply.bulk(weald_resp::format_double(score_in(value)?).as_bytes());
        Ok(1)
    })
}

/// The count of a `ZPOPMIN`, and a number that may be infinite of a bound.
pub(super) fn pop_count(arg: Option<&&[u8]>) -> Result<Option<u64>> {
    arg.map(|arg| positive(arg).map(|count| count as u64)).transpose()
}

/// A bound by score: the score, and whether it is left out itself.
pub(super) fn score_bound(arg: &[u8]) -> Result<(f64, bool)> {
    let (digits, excluded) = match arg.strip_prefix(b"(") {
        Some(digits) => (digits, true),
        None => (arg, false),
    };
    let score = parse_float(digits).ok_or_else(|| CommandError::new("ERR min or max is not a float"))?;
    Ok((score, excluded))
}
