//! `WEALD.TREE`: trees within trees under one root hash, with proofs.
//!
//! A path is names with slashes between; the empty path is the outermost tree. Each command is a transaction of its own, which is why there are none of them in `MULTI`.
//! It is committed within the command, as durably as the connection wants its writes: so a durable one holds all others up for the length of a flush.

use weald_tree::{Answer, Direction, Element, Error, Query, Range, Reference, TreeKind, TreeStore, TreeTx};

use crate::call::Call;
use crate::commands::{integer, is, text};
use crate::error::{CommandError, CommandResult};
use crate::registry::{Category, Command, Flags, Group, Handler};

const FLAGS: Flags = Flags::ALONE.and(Flags::NO_MULTI);

/// The most entries of an answer.
const ENTRIES_MAX: u64 = 10_000;

pub(crate) const COMMANDS: &[Command] = &[Command::container(
    "weald.tree",
    Group::Weald,
    "7.2.0",
    "A container for commands of trees with proofs.",
    &[
        sub(
            "weald.tree|create",
            -3,
            "Makes a tree: path [PLAIN|SUM|COUNT]; whether it was not there.",
            create,
            Category::WRITE,
        ),
        sub(
            "weald.tree|drop",
            3,
            "Drops a tree with all that is in it; whether it was there.",
            drop_tree,
            Category::WRITE,
        ),
        sub(
            "weald.tree|put",
            -5,
            "Sets a key of a tree: path key value, path key SUM number, or path key REF path-of-another.",
            put,
            Category::WRITE,
        ),
        sub(
            "weald.tree|get",
            4,
            "Returns what a key of a tree holds.",
            get,
            Category::READ,
        ),
        sub(
            "weald.tree|del",
            4,
            "Deletes a key of a tree; whether it was there.",
            del,
            Category::WRITE,
        ),
        sub(
            "weald.tree|query",
            -3,
            "Returns entries of a tree in order: path [KEY key | FROM key] [TO key] [PREFIX prefix] [OFFSET n] [LIMIT n] [REV] [TOTALS].",
            query,
            Category::READ,
        ),
        sub(
            "weald.tree|prove",
            -3,
            "As QUERY: the root hash, and a proof of the answer that anybody can check.",
            prove,
            Category::READ,
        ),
        sub(
            "weald.tree|root",
            2,
            "Returns the root hash over everything.",
            root,
            Category::READ,
        ),
        sub(
            "weald.tree|help",
            2,
            "Returns helpful text about the different subcommands.",
            super::command::help,
            Category::none(),
        ),
    ],
)];

const fn sub(
    name: &'static str,
    arity: i32,
    summary: &'static str,
    handler: Handler,
    category: Category,
) -> Command {
    let flags = if category.has(Category::WRITE) {
        FLAGS.and(Flags::PAUSED)
    } else {
        FLAGS
    };
    Command::new(name, arity, Group::Weald, "7.2.0", summary, handler)
        .flags(flags)
        .acl(category.and(Category::KEYSPACE))
}

impl From<Error> for CommandError {
    fn from(e: Error) -> CommandError {
        match e {
            Error::Engine(e) => e.into(),
            e => CommandError::new(format!("ERR {e}")),
        }
    }
}

fn store<'a>(call: &'a mut Call<'_, '_>) -> Result<&'a TreeStore, CommandError> {
    let state = &mut *call.state;
    if state.trees.is_none() {
        state.trees = Some(TreeStore::open(state.db.clone())?);
    }
    Ok(state.trees.as_ref().expect("it was made just now"))
}

/// Writes, and commits as durably as the connection wants it. Nothing can come between: this thread is the only one that writes.
fn write<T>(
    call: &mut Call<'_, '_>,
    body: impl FnOnce(&mut TreeTx<'_>) -> weald_tree::Result<T>,
) -> Result<T, CommandError> {
    let settings = &call.state.settings;
    let durability = call.session.durability.unwrap_or(settings.durability);
    let policy = durability.policy(settings.durability_interval);
    let mut tx = store(call)?.begin()?;
    let value = body(&mut tx)?;
    tx.commit_with(policy)?;
    Ok(value)
}

/// The names of a path; a backslash takes a slash into a name.
fn names(path: &[u8]) -> Vec<Vec<u8>> {
    if path.is_empty() {
        return Vec::new();
    }
    let mut names = vec![Vec::new()];
    let mut bytes = path.iter();
    while let Some(byte) = bytes.next() {
        let last = names.last_mut().expect("it begins with one");
        match byte {
            b'\\' => last.extend(bytes.next()),
            b'/' => names.push(Vec::new()),
            byte => last.push(*byte),
        }
    }
    names
}

fn lent(names: &[Vec<u8>]) -> Vec<&[u8]> {
    names.iter().map(Vec::as_slice).collect()
}

/// A path to a key: that of its tree, and the key.
fn split(path: &[u8]) -> Result<(Vec<Vec<u8>>, Vec<u8>), CommandError> {
    let mut names = names(path);
    let last = names
        .pop()
        .ok_or_else(|| CommandError::new("ERR the outermost tree is always there"))?;
    Ok((names, last))
}

fn create(call: &mut Call<'_, '_>) -> CommandResult {
    let kind = match &call.args[3..] {
        [] => TreeKind::Plain,
        [word] if is(word, "plain") => TreeKind::Plain,
        [word] if is(word, "sum") => TreeKind::Sum,
        [word] if is(word, "count") => TreeKind::Count,
        _ => return Err(CommandError::syntax()),
    };
    let (path, key) = split(call.args[2])?;
    let made = write(call, |tx| tx.create_tree(&lent(&path), &key, kind))?;
    call.reply.integer(i64::from(made));
    Ok(())
}

fn drop_tree(call: &mut Call<'_, '_>) -> CommandResult {
    let (path, key) = split(call.args[2])?;
    let there = write(call, |tx| tx.drop_tree(&lent(&path), &key))?;
    call.reply.integer(i64::from(there));
    Ok(())
}

fn put(call: &mut Call<'_, '_>) -> CommandResult {
    let (path, key) = (names(call.args[2]), call.args[3]);
    let element = match &call.args[4..] {
        [value] => Element::Item(value.to_vec()),
        [word, number] if is(word, "sum") => Element::SumItem(integer(number)?),
        [word, other] if is(word, "ref") => {
            let (mut segments, last) = split(other)?;
            segments.push(last);
            Element::Reference(Reference::Absolute(segments))
        }
        _ => return Err(CommandError::syntax()),
    };
    write(call, |tx| tx.put(&lent(&path), key, element))?;
    call.reply.ok();
    Ok(())
}

fn del(call: &mut Call<'_, '_>) -> CommandResult {
    let (path, key) = (names(call.args[2]), call.args[3]);
    let there = write(call, |tx| tx.delete(&lent(&path), key))?;
    call.reply.integer(i64::from(there));
    Ok(())
}

fn get(call: &mut Call<'_, '_>) -> CommandResult {
    let (path, key) = (names(call.args[2]), call.args[3]);
    let element = store(call)?.snapshot()?.get(&lent(&path), key)?;
    match element {
        Some(element) => write_element(call, &element),
        None => call.reply.null(),
    }
    Ok(())
}

fn root(call: &mut Call<'_, '_>) -> CommandResult {
    let root = store(call)?.root()?;
    call.reply.bulk(hex(root.as_bytes()).as_bytes());
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An item is its bytes, a sum item its number; what else there is says what it is.
fn write_element(call: &mut Call<'_, '_>, element: &Element) {
    let reply = &mut *call.reply;
    let mut tagged = |kind: &str, texts: &[String]| {
        reply.array(1 + texts.len());
        reply.bulk(kind.as_bytes());
        texts.iter().for_each(|text| reply.bulk(text.as_bytes()));
    };
    match element {
        Element::Item(value) => reply.bulk(value),
        Element::SumItem(number) => reply.integer(*number),
        Element::Tree(root) => tagged("tree", &[hex(root.as_bytes())]),
        Element::SumTree { root, sum } => tagged("sumtree", &[hex(root.as_bytes()), sum.to_string()]),
        Element::CountTree { root, count } => tagged("counttree", &[hex(root.as_bytes()), count.to_string()]),
        Element::Reference(Reference::Absolute(path)) => {
            reply.array(1 + path.len());
            reply.bulk(b"ref");
            path.iter().for_each(|name| reply.bulk(name));
        }
        Element::Reference(Reference::Relative { up, down }) => {
            reply.array(2 + down.len());
            reply.bulk(b"relative");
            reply.integer(*up as i64);
            down.iter().for_each(|name| reply.bulk(name));
        }
    }
}

/// The query that arguments mean.
fn parse_query(args: &[&[u8]]) -> Result<Query, CommandError> {
    let path = names(args[2]);
    let (mut from, mut to, mut whole) = (Vec::new(), None, None);
    let (mut offset, mut limit, mut direction, mut totals) = (0, 100, Direction::Ascending, false);
    let mut rest = &args[3..];
    while let Some((word, after)) = rest.split_first() {
        rest = after;
        match word.to_ascii_lowercase().as_slice() {
            b"rev" => direction = Direction::Descending,
            b"totals" => totals = true,
            word => {
                let (value, after) = rest.split_first().ok_or_else(CommandError::syntax)?;
                rest = after;
                let number = || {
                    u64::try_from(integer(value)?)
                        .map_err(|_| CommandError::new("ERR value is out of range, must be positive"))
                };
                match word {
                    b"key" => whole = Some(Range::key(value)),
                    b"prefix" => whole = Some(Range::prefix(value)),
                    b"from" => from = value.to_vec(),
                    b"to" => to = Some(value.to_vec()),
                    b"offset" => offset = number()?,
                    b"limit" => limit = number()?.min(ENTRIES_MAX),
                    _ => return Err(CommandError::syntax()),
                }
            }
        }
    }
    let range = whole.unwrap_or(Range { start: from, end: to });
    let query = if totals {
        Query::totals(range)
    } else {
        Query::entries([range])
            .direction(direction)
            .offset(offset)
            .limit(limit)
    };
    let query = query.at(path);
    query.check().map_err(|e| CommandError::new(format!("ERR {e}")))?;
    Ok(query)
}

fn query(call: &mut Call<'_, '_>) -> CommandResult {
    let query = parse_query(call.args)?;
    let answer = store(call)?.snapshot()?.query(&query)?;
    match answer {
        Answer::NoSubtree { depth } => {
            return Err(CommandError::new(format!(
                "ERR there is no tree at '{}': its first {depth} names lead to one",
                text(call.args[2])
            )));
        }
        Answer::Totals(totals) => {
            call.reply.array(2);
            call.reply.integer(totals.count as i64);
            call.reply.big_number(&totals.sum.to_string());
        }
        Answer::Entries(entries) => {
            call.reply.array(2 * entries.len());
            for entry in entries {
                call.reply.bulk(&entry.key);
                write_element(call, &entry.element);
            }
        }
    }
    Ok(())
}

fn prove(call: &mut Call<'_, '_>) -> CommandResult {
    let query = parse_query(call.args)?;
    let (root, proof) = {
        let snapshot = store(call)?.snapshot()?;
        (snapshot.root()?, snapshot.prove(&query)?)
    };
    call.reply.array(2);
    call.reply.bulk(hex(root.as_bytes()).as_bytes());
    call.reply.bulk(&proof);
    Ok(())
}
