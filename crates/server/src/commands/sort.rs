//! `SORT`: the elements of a list, set or sorted set in order, with what other keys have for them.

use std::cmp::Ordering;

use crate::call::Call;
use crate::commands::args::{Result, integer, parse_float};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Kind, Order, Slice, Walk};
use crate::notify::Event;

#[derive(Default)]
struct Options<'a> {
    by: Option<&'a [u8]>,
    /// Nothing has to be sorted: the pattern names no key.
    unsorted: bool,
    limit: Option<(i64, i64)>,
    get: Vec<&'a [u8]>,
    descending: bool,
    alpha: bool,
    store: Option<&'a [u8]>,
}

fn options<'a>(args: &[&'a [u8]], read_only: bool) -> Result<Options<'a>> {
    let mut found = Options::default();
    let mut rest = args;
    while let [word, after @ ..] = rest {
        let taken = match (word.to_ascii_lowercase().as_slice(), after) {
            (b"asc", _) => {
                found.descending = false;
                0
            }
            (b"desc", _) => {
                found.descending = true;
                0
            }
            (b"alpha", _) => {
                found.alpha = true;
                0
            }
            (b"limit", [start, count, ..]) => {
                found.limit = Some((integer(start)?, integer(count)?));
                2
            }
            (b"store", [key, ..]) if !read_only => {
                found.store = Some(key);
                1
            }
            (b"by", [pattern, ..]) => {
                found.by = Some(pattern);
                found.unsorted = !pattern.contains(&b'*');
                1
            }
            (b"get", [pattern, ..]) => {
                found.get.push(pattern);
                1
            }
            _ => return Err(CommandError::syntax()),
        };
        rest = &after[taken..];
    }
    Ok(found)
}

/// Refuses patterns, which may name any key, to who may not read all of them.
fn check_patterns(call: &Call<'_, '_>, options: &Options<'_>) -> CommandResult {
    let by = options.by.filter(|_| !options.unsorted).map(|_| "BY");
    let get = options
        .get
        .iter()
        .find(|pattern| **pattern != b"#")
        .map(|_| "GET");
    match by.or(get) {
        Some(option) if !call.session.user.reads_all_keys(call.found, call.args) => Err(CommandError::new(
            format!("ERR {option} option of SORT denied due to insufficient ACL permissions."),
        )),
        _ => Ok(()),
    }
}

/// What the key has that a pattern names for an element; `#` is the element itself.
fn look_up(call: &Call<'_, '_>, pattern: &[u8], element: &[u8]) -> Result<Option<Vec<u8>>> {
    if pattern == b"#" {
        return Ok(Some(element.to_vec()));
    }
    let Some(star) = pattern.iter().position(|byte| *byte == b'*') else {
        return Ok(None);
    };
    let arrow = pattern[star + 1..]
        .windows(2)
        .position(|two| two == b"->")
        .map(|at| star + 1 + at);
    // An arrow with nothing after it belongs to the key.
    let arrow = arrow.filter(|at| at + 2 < pattern.len());
    let key = [
        &pattern[..star],
        element,
        &pattern[star + 1..arrow.unwrap_or(pattern.len())],
    ]
    .concat();
    let db = call.session.db;
    let Some(record) = call.keyspace.find(db, &key)? else {
        return Ok(None);
    };
    Ok(match (arrow, record.kind) {
        (None, Kind::String) => Some(record.string()?.to_vec()),
        (Some(at), Kind::Hash) => call
            .keyspace
            .member(db, &record, &pattern[at + 2..])?
            .map(<[u8]>::to_vec),
        _ => None,
    })
}

/// The elements in the order in which the collection has them, and its type.
fn elements(call: &Call<'_, '_>, options: &Options<'_>) -> Result<(Vec<Vec<u8>>, Option<Kind>)> {
    let db = call.session.db;
    let mut out = Vec::new();
    let Some(record) = call.keyspace.find(db, call.args[1])? else {
        return Ok((out, None));
    };
    match record.kind {
        Kind::List => {
            let all = Slice {
                start: 0,
                end: record.count(),
            };
            let reverse = options.unsorted && options.descending;
            call.keyspace
                .each_element(db, &record, all, reverse, |_, element| {
                    out.push(element.to_vec());
                    true
                })?;
        }
        Kind::Set => call
            .keyspace
            .each_of(db, &record, |member, _| out.push(member.to_vec()))?,
        Kind::ZSet => {
            let reverse = options.unsorted && options.descending;
            let walk = Walk {
                order: Order::all(),
                reverse,
                skip: 0,
                limit: u64::MAX,
            };
            call.keyspace
                .walk(db, &record, &walk, |scored| out.push(scored.member.to_vec()))?;
        }
        Kind::String | Kind::Hash => return Err(CommandError::wrong_type()),
    }
    Ok((out, Some(record.kind)))
}

/// What an element is sorted by.
enum Weight {
    Number(f64),
    Text(Option<Vec<u8>>),
}

impl Weight {
    fn cmp(&self, other: &Weight) -> Ordering {
        match (self, other) {
            (Weight::Number(a), Weight::Number(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Weight::Text(a), Weight::Text(b)) => a.cmp(b),
            _ => Ordering::Equal,
        }
    }
}

fn sorted(call: &Call<'_, '_>, options: &Options<'_>, elements: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
    let mut weighed = Vec::with_capacity(elements.len());
    for element in elements {
        let text = match options.by {
            Some(pattern) => look_up(call, pattern, &element)?,
            None => Some(element.clone()),
        };
        let weight =
            if options.alpha {
                Weight::Text(text)
            } else {
                // As C reads a number out of nothing.
                let number = text
                    .as_deref()
                    .filter(|text| !text.is_empty())
                    .map_or(Some(0.0), parse_float);
                Weight::Number(number.ok_or_else(|| {
                    CommandError::new("ERR One or more scores can't be converted into double")
                })?)
            };
        weighed.push((weight, element));
    }
    weighed.sort_by(|(a, x), (b, y)| {
        let by_weight = a.cmp(b);
        // Those of equal weight are in order too, unless they were weighed by the words of others.
        let order = if by_weight == Ordering::Equal && !(options.alpha && options.by.is_some()) {
            x.cmp(y)
        } else {
            by_weight
        };
        if options.descending {
            order.reverse()
        } else {
            order
        }
    });
    Ok(weighed.into_iter().map(|(_, element)| element).collect())
}

pub(super) fn sort(call: &mut Call<'_, '_>) -> CommandResult {
    let read_only = call.found.command.name == "sort_ro";
    let mut options = options(&call.args[2..], read_only)?;
    check_patterns(call, &options)?;
    let (elements, kind) = elements(call, &options)?;
    // The order of a set is no order: what is stored is to be the same everywhere.
    if options.unsorted && options.store.is_some() && kind == Some(Kind::Set) {
        options.unsorted = false;
        options.alpha = true;
        options.by = None;
    }
    let mut elements = if options.unsorted {
        elements
    } else {
        sorted(call, &options, elements)?
    };
    if let Some((start, count)) = options.limit {
        let start = usize::try_from(start.max(0))
            .unwrap_or(usize::MAX)
            .min(elements.len());
        elements.drain(..start);
        if count >= 0 {
            elements.truncate(usize::try_from(count).unwrap_or(usize::MAX));
        }
    }
    let mut out = Vec::with_capacity(elements.len() * options.get.len().max(1));
    for element in elements {
        if options.get.is_empty() {
            out.push(Some(element));
            continue;
        }
        for pattern in &options.get {
            out.push(look_up(call, pattern, &element)?);
        }
    }
    match options.store {
        None => {
            call.reply.array(out.len());
            out.iter()
                .for_each(|element| call.reply.bulk_or_null(element.as_deref()));
        }
        Some(target) => store(call, target, &out)?,
    }
    Ok(())
}

fn store(call: &mut Call<'_, '_>, target: &[u8], elements: &[Option<Vec<u8>>]) -> CommandResult {
    let db = call.session.db;
    if elements.is_empty() {
        if call.keyspace.delete(db, target)? {
            call.changed(Event::GENERIC, "del", target);
        }
    } else {
        let mut entry = call.keyspace.fresh_entry(db, target, Kind::List)?;
        for element in elements {
            call.keyspace
                .push_element(&mut entry, false, element.as_deref().unwrap_or_default())?;
        }
        call.keyspace.save(&entry)?;
        call.changed(Event::LIST, "sortstore", target);
    }
    call.reply.integer(elements.len() as i64);
    Ok(())
}
