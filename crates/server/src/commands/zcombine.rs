//! Unions, intersections and differences of sorted sets, and of sets, whose members count as having the score 1.

use std::collections::HashMap;

use crate::call::Call;
use crate::commands::args::{Result, integer, is_word, parse_float};
use crate::commands::sets::card_limit;
use crate::commands::zranges::store_scored;
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Kind, Record, score_in};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Combine {
    Union,
    Inter,
    Diff,
}

#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            // Infinities of both signs cancel out.
            Aggregate::Sum => Some(a + b).filter(|sum| !sum.is_nan()).unwrap_or(0.0),
            Aggregate::Min => {
                if b < a {
                    b
                } else {
                    a
                }
            }
            Aggregate::Max => {
                if b > a {
                    b
                } else {
                    a
                }
            }
        }
    }
}

struct Wanted<'a> {
    combine: Combine,
    keys: &'a [&'a [u8]],
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
}

/// Some of the arguments.
type Args<'a> = &'a [&'a [u8]];

/// The keys after their number at `at`, and what follows them.
fn keys_and_rest<'a>(call: &Call<'a, '_>, at: usize) -> Result<(Args<'a>, Args<'a>)> {
    let (args, name) = (call.args, call.found.command.name);
    let count = integer(args[at])?;
    if count < 1 {
        return Err(CommandError::new(format!(
            "ERR at least 1 input key is needed for '{name}' command"
        )));
    }
    let end = usize::try_from(count)
        .ok()
        .and_then(|count| count.checked_add(at + 1));
    end.and_then(|end| Some((args.get(at + 1..end)?, args.get(end..)?)))
        .ok_or_else(CommandError::syntax)
}

/// Reads the arguments from the number of keys at `at` on.
fn wanted<'a>(call: &Call<'a, '_>, at: usize) -> Result<Wanted<'a>> {
    let combine = match call.found.command.name.as_bytes().get(1) {
        Some(b'u') => Combine::Union,
        Some(b'i') => Combine::Inter,
        _ => Combine::Diff,
    };
    let (keys, mut rest) = keys_and_rest(call, at)?;
    // Redis looks at the keys before it looks at the options.
    records(call, keys)?;
    call.keyspace.lookups.forget();
    let mut wanted = Wanted {
        combine,
        keys,
        weights: vec![1.0; keys.len()],
        aggregate: Aggregate::Sum,
        with_scores: false,
    };
    while let [word, after @ ..] = rest {
        let taken = if is_word(word, "weights") && combine != Combine::Diff && after.len() >= keys.len() {
            for (weight, arg) in wanted.weights.iter_mut().zip(after) {
                *weight =
                    parse_float(arg).ok_or_else(|| CommandError::new("ERR weight value is not a float"))?;
            }
            keys.len()
        } else if is_word(word, "aggregate") && combine != Combine::Diff && !after.is_empty() {
            wanted.aggregate = match after[0].to_ascii_lowercase().as_slice() {
                b"sum" => Aggregate::Sum,
                b"min" => Aggregate::Min,
                b"max" => Aggregate::Max,
                _ => return Err(CommandError::syntax()),
            };
            1
        } else if is_word(word, "withscores") && at == 1 {
            wanted.with_scores = true;
            0
        } else {
            return Err(CommandError::syntax());
        };
        rest = &after[taken..];
    }
    Ok(wanted)
}

/// The records of sets and sorted sets.
fn records<'a>(call: &'a Call<'_, '_>, keys: &[&[u8]]) -> Result<Vec<Option<Record<'a>>>> {
    let mut out = Vec::with_capacity(keys.len());
    for key in keys {
        let record = call.keyspace.find(call.session.db, key)?;
        if record.is_some_and(|record| !matches!(record.kind, Kind::Set | Kind::ZSet)) {
            return Err(CommandError::wrong_type());
        }
        out.push(record);
    }
    Ok(out)
}

fn score(call: &Call<'_, '_>, record: &Record<'_>, member: &[u8]) -> Result<Option<f64>> {
    let db = call.session.db;
    if record.kind == Kind::Set {
        return Ok(call.keyspace.has_member(db, record, member)?.then_some(1.0));
    }
    call.keyspace.score(db, record, member)
}

fn scored<'a>(call: &'a Call<'_, '_>, record: &Record<'a>) -> Result<Vec<(&'a [u8], f64)>> {
    let mut out = Vec::with_capacity(record.count() as usize);
    call.keyspace
        .each_member(call.session.db, record, |member, value| {
            let score = if record.kind == Kind::Set {
                1.0
            } else {
                score_in(value)?
            };
            out.push((member, score));
            Ok(())
        })?;
    Ok(out)
}

fn weighed(score: f64, weight: f64) -> f64 {
    Some(score * weight)
        .filter(|product| !product.is_nan())
        .unwrap_or(0.0)
}

fn combined(call: &Call<'_, '_>, wanted: &Wanted<'_>) -> Result<Vec<(Vec<u8>, f64)>> {
    let records = records(call, wanted.keys)?;
    let inputs: Vec<_> = records.iter().zip(&wanted.weights).collect();
    let mut found: HashMap<&[u8], f64> = HashMap::new();
    match wanted.combine {
        Combine::Union => {
            // From the smallest on, as infinities of both signs make the order tell.
            let mut inputs = inputs;
            inputs.sort_by_key(|(record, _)| record.as_ref().map_or(0, Record::count));
            for (record, weight) in inputs {
                let Some(record) = record else { continue };
                for (member, score) in scored(call, record)? {
                    let score = weighed(score, *weight);
                    found
                        .entry(member)
                        .and_modify(|old| *old = wanted.aggregate.of(*old, score))
                        .or_insert(score);
                }
            }
        }
        Combine::Inter => {
            if let Some(mut inputs) = inputs
                .into_iter()
                .map(|(record, weight)| Some((record.as_ref()?, *weight)))
                .collect::<Option<Vec<_>>>()
            {
                inputs.sort_by_key(|(record, _)| record.count());
                for (member, first) in scored(call, inputs[0].0)? {
                    let mut sum = Some(weighed(first, inputs[0].1));
                    for (record, weight) in &inputs[1..] {
                        let Some(so_far) = sum else { break };
                        sum = score(call, record, member)?
                            .map(|score| wanted.aggregate.of(so_far, score * weight));
                    }
                    found.extend(sum.map(|sum| (member, sum)));
                }
            }
        }
        Combine::Diff => {
            if let Some((Some(first), _)) = inputs.first() {
                for (member, first_score) in scored(call, first)? {
                    let mut elsewhere = false;
                    for record in inputs[1..].iter().filter_map(|(record, _)| record.as_ref()) {
                        elsewhere = elsewhere || score(call, record, member)?.is_some();
                    }
                    if !elsewhere {
                        found.insert(member, first_score);
                    }
                }
            }
        }
    }
    let mut out: Vec<_> = found
        .into_iter()
        .map(|(member, score)| (member.to_vec(), score))
        .collect();
    out.sort_by(|a, b| {
        a.1.partial_cmp(&b.1)
            .unwrap_or(std::cmp::Ordering::Equal)
            .then_with(|| a.0.cmp(&b.0))
    });
    Ok(out)
}

pub(super) fn give(call: &mut Call<'_, '_>) -> CommandResult {
    let wanted = wanted(call, 1)?;
    let members = combined(call, &wanted)?;
    let pairs = wanted.with_scores && call.reply.is_resp3();
    call.reply.array(if wanted.with_scores && !pairs {
        2 * members.len()
    } else {
        members.len()
    });
    for (member, score) in members {
        if pairs {
            call.reply.array(2);
        }
        call.reply.bulk(&member);
        if wanted.with_scores {
            call.reply.double(score);
        }
    }
    Ok(())
}

pub(super) fn store(call: &mut Call<'_, '_>) -> CommandResult {
    let wanted = wanted(call, 2)?;
    let members = combined(call, &wanted)?;
    store_scored(call, call.args[1], &members, call.found.command.name)
}

pub(super) fn zintercard(call: &mut Call<'_, '_>) -> CommandResult {
    let (keys, rest) = keys_and_rest(call, 1)?;
    let records = records(call, keys)?;
    let limit = card_limit(rest)?;
    let mut count = 0;
    if let Some(mut records) = records.into_iter().collect::<Option<Vec<_>>>() {
        records.sort_by_key(Record::count);
        for (member, _) in scored(call, &records[0])? {
            let mut everywhere = true;
            for record in &records[1..] {
                everywhere = everywhere && score(call, record, member)?.is_some();
            }
            count += usize::from(everywhere);
            if count >= limit {
                break;
            }
        }
    }
    call.reply.integer(count as i64);
    Ok(())
}
