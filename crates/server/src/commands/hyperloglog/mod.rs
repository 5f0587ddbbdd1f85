//! HyperLogLogs: strings that count different elements without keeping them.

mod sketch;

use crate::call::Call;
use crate::commands::args::is_word;
use crate::commands::text;
use crate::config::Durability;
use crate::error::{CommandError, CommandResult};
use crate::keyspace::Expiry;
use crate::notify::Event;
use crate::registry::{Access, Category, Command, Flags, Group, Handler, KeySpec};

use sketch::{REGISTERS, Registers, Sketch};

const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);

const fn sketches(
    name: &'static str,
    arity: i32,
    flags: Flags,
    keys: &'static [KeySpec],
    summary: &'static str,
    handler: Handler,
) -> Command {
    Command::new(name, arity, Group::HyperLogLog, "2.8.9", summary, handler)
        .flags(flags)
        .keys(keys)
}

pub(crate) const COMMANDS: &[Command] = &[
    sketches(
        "pfadd",
        -2,
        WRITE.and(Flags::FAST),
        KeySpec::ONE_INSERT,
        "Adds elements to a HyperLogLog.",
        pfadd,
    ),
    sketches(
        "pfcount",
        -2,
        Flags::READONLY.and(Flags::PAUSED),
        &[KeySpec::range(1, -1, 1, Access::Read)],
        "Counts the different elements of HyperLogLogs, approximately.",
        pfcount,
    ),
    sketches(
        "pfmerge",
        -2,
        WRITE.and(Flags::LOOKS),
        &[
            KeySpec::one(1, Access::Update),
            KeySpec::range(2, -1, 1, Access::Read),
        ],
        "Makes a HyperLogLog of all elements of several.",
        pfmerge,
    ),
    sketches(
        "pfdebug",
        3,
        WRITE.and(Flags::ADMIN),
        &[KeySpec::one(2, Access::Update)],
        "Shows how a HyperLogLog is kept.",
        pfdebug,
    ),
    Command::new(
        "pfselftest",
        1,
        Group::HyperLogLog,
        "2.8.9",
        "Checks how well HyperLogLogs count.",
        pfselftest,
    )
    .flags(Flags::ADMIN)
    .acl(Category::HYPERLOGLOG),
];

fn read(call: &Call<'_, '_>, key: &[u8]) -> Result<Option<Sketch>, CommandError> {
    let value = call.keyspace.string(call.session.db, key)?;
    value.map(Sketch::decode).transpose()
}

fn write(call: &mut Call<'_, '_>, key: &[u8], sketch: &mut Sketch, is_new: bool) -> CommandResult {
    let mut bytes = sketch.encode(call.state.settings.hll_sparse_max);
    if !is_new && let Some(before) = call.keyspace.string(call.session.db, key)? {
        sketch::inherit(&mut bytes, before, true);
    }
    let expiry = if is_new { Expiry::Never } else { Expiry::Kept };
    call.keyspace
        .set_raw_string(call.session.db, key, &bytes, expiry)?;
    call.changed(Event::STRING, "pfadd", key);
    Ok(())
}

fn pfadd(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, sparse_max) = (call.args[1], call.state.settings.hll_sparse_max);
    let there = read(call, key)?;
    let is_new = there.is_none();
    let mut sketch = there.unwrap_or_else(Sketch::new);
    let mut changed = is_new;
    for element in &call.args[2..] {
        changed |= sketch.add(element, sparse_max);
    }
    if changed {
        write(call, key, &mut sketch, is_new)?;
    }
    call.reply.integer(i64::from(changed));
    Ok(())
}

fn pfcount(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, keys) = (call.session.db, &call.args[1..]);
    if let [key] = *keys {
        let Some(value) = call.keyspace.string(db, key)? else {
            call.reply.integer(0);
            return Ok(());
        };
        let count = match sketch::remembered(value)? {
            Some(count) => count,
            None => {
                let count = Sketch::decode(value)?.count();
                let mut value = value.to_vec();
                sketch::remember(&mut value, count);
                keep(call, key, &value)?;
                count
            }
        };
        call.reply.integer(count as i64);
        return Ok(());
    }
    let mut registers: Registers = [0; REGISTERS];
    for key in keys {
        if let Some(sketch) = read(call, key)? {
            sketch.merge_into(&mut registers);
        }
    }
    call.reply.integer(sketch::count(&registers) as i64);
    Ok(())
}

/// Keeps a string in which only the count is another: for nothing but speed, so that it need not be durable, and can be left out where the disk fails.
fn keep(call: &mut Call<'_, '_>, key: &[u8], value: &[u8]) -> CommandResult {
    if call.keyspace.tick().is_doubtful() {
        return Ok(());
    }
    call.keyspace.tick().begin_write(Durability::None)?;
    call.keyspace.change_string(call.session.db, key, value)?;
    call.touched(key);
    Ok(())
}

fn pfmerge(call: &mut Call<'_, '_>) -> CommandResult {
    let (target, sparse_max) = (call.args[1], call.state.settings.hll_sparse_max);
    let mut registers: Registers = [0; REGISTERS];
    let (mut merged, mut is_new, mut dense) = (Sketch::new(), true, false);
    for (at, key) in call.args[1..].iter().enumerate() {
        let Some(sketch) = read(call, key)? else { continue };
        sketch.merge_into(&mut registers);
        dense |= sketch.encoding() == "dense";
        is_new &= at > 0;
    }
    if dense {
        merged.make_dense();
    }
    for (index, value) in registers.iter().enumerate().filter(|(_, value)| **value > 0) {
        merged.raise(index, *value, sparse_max);
    }
    write(call, target, &mut merged, is_new)?;
    call.reply.ok();
    Ok(())
}

fn pfdebug(call: &mut Call<'_, '_>) -> CommandResult {
    let (word, key) = (call.args[1], call.args[2]);
    let Some(mut sketch) = read(call, key)? else {
        return Err(CommandError::new("ERR The specified key does not exist"));
    };
    if is_word(word, "getreg") {
        let mut registers: Registers = [0; REGISTERS];
        sketch.merge_into(&mut registers);
        call.reply.array(REGISTERS);
        registers
            .iter()
            .for_each(|value| call.reply.integer(i64::from(*value)));
    } else if is_word(word, "decode") {
        let runs = sketch
            .describe()
            .ok_or_else(|| CommandError::new("ERR HLL encoding is not sparse"))?;
        call.reply.bulk(runs.as_bytes());
    } else if is_word(word, "encoding") {
        call.reply.simple(sketch.encoding());
    } else if is_word(word, "todense") {
        let changed = sketch.make_dense();
        if changed {
            let value = call.keyspace.string(call.session.db, key)?.unwrap_or_default();
            let mut bytes = sketch.encode(call.state.settings.hll_sparse_max);
            sketch::inherit(&mut bytes, value, false);
            call.keyspace.change_string(call.session.db, key, &bytes)?;
            call.touched(key);
        }
        call.reply.integer(i64::from(changed));
    } else {
        return Err(CommandError::new(format!(
            "ERR Unknown PFDEBUG subcommand '{}'",
            text(word)
        )));
    }
    Ok(())
}

/// How many elements `PFSELFTEST` adds.
const SELFTEST: u64 = 100_000;

fn pfselftest(call: &mut Call<'_, '_>) -> CommandResult {
    let failed = |why: String| Err(CommandError::new(format!("TESTFAILED {why}")));
    let seed = call.keyspace.random.u64(..);
    let (mut dense, mut other) = (Sketch::new(), Sketch::new());
    dense.make_dense();
    let sparse_max = call.state.settings.hll_sparse_max;
    let mut check = 1;
    for number in 1..=SELFTEST {
        let element = (number ^ seed).to_le_bytes();
        dense.add(&element, sparse_max);
        other.add(&element, sparse_max);
        if number == check {
            let (count, same) = (dense.count(), other.count());
            if count != same {
                return failed("dense/sparse disagree".to_owned());
            }
            // Six times the standard error, and what one collision makes of few elements.
            let error = (1.04 / (REGISTERS as f64).sqrt() * 6.0 * number as f64).ceil() as u64;
            if count.abs_diff(number) > error.max(1) {
                return failed(format!(
                    "Too big error. card:{number} abserr:{}",
                    count.abs_diff(number)
                ));
            }
            check *= 10;
        }
    }
    call.reply.ok();
    Ok(())
}
