//! `WEALD.BUCKET`: buckets of the engine, which lie within each other and keep their keys in order.
//!
//! They are beside the keys of Redis, not among them: a path is names with slashes between, below a bucket of the server's own.

use weald_engine::{Bucket, BucketMut, Error, Writable};

use crate::call::Call;
use crate::commands::{integer, is, text};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::Keyspace;
use crate::registry::{Category, Command, Flags, Group, Handler};

/// The bucket that has them all.
const ROOT: &[u8] = b"weald.buckets";

/// The most pairs in a reply of `SCAN`.
const SCAN_MAX: usize = 10_000;

const READ: Flags = Flags::READONLY;
const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);

pub(crate) const COMMANDS: &[Command] = &[Command::container(
    "weald.bucket",
    Group::Weald,
    "7.2.0",
    "A container for commands of buckets.",
    &[
        sub(
            "weald.bucket|create",
            3,
            "Makes a bucket, and those that it lies in; whether it was not there.",
            create,
            WRITE,
        ),
        sub(
            "weald.bucket|drop",
            3,
            "Deletes a bucket with all that is in it; whether it was there.",
            drop_bucket,
            WRITE,
        ),
        sub(
            "weald.bucket|list",
            -2,
            "Returns the names of the buckets in a bucket.",
            list,
            READ,
        ),
        sub("weald.bucket|put", 5, "Sets a key of a bucket.", put, WRITE),
        sub(
            "weald.bucket|get",
            4,
            "Returns the value of a key of a bucket.",
            get,
            READ,
        ),
        sub(
            "weald.bucket|del",
            4,
            "Deletes a key of a bucket; whether it was there.",
            del,
            WRITE,
        ),
        sub(
            "weald.bucket|len",
            3,
            "Returns the number of keys in a bucket.",
            len,
            READ,
        ),
        sub(
            "weald.bucket|scan",
            -3,
            "Returns keys and values in order: [FROM key] [TO key] [PREFIX prefix] [COUNT count] [REV].",
            scan,
            READ,
        ),
        sub(
            "weald.bucket|help",
            2,
            "Returns helpful text about the different subcommands.",
            super::command::help,
            Flags::none(),
        ),
    ],
)];

const fn sub(
    name: &'static str,
    arity: i32,
    summary: &'static str,
    handler: Handler,
    flags: Flags,
) -> Command {
    Command::new(name, arity, Group::Weald, "7.2.0", summary, handler)
        .flags(flags)
        .acl(Category::KEYSPACE)
}

/// The names of a path; a backslash takes a slash into a name.
fn names(path: &[u8]) -> Result<Vec<Vec<u8>>, CommandError> {
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
    if names.len() > 32 || names.iter().any(|name| name.is_empty() || name.len() > 255) {
        return Err(CommandError::new(
            "ERR a path has 1 to 32 names of 1 to 255 bytes, with slashes between",
        ));
    }
    Ok(names)
}

fn absent(path: &[u8]) -> CommandError {
    CommandError::new(format!("ERR there is no bucket '{}'", text(path)))
}

/// The bucket at a path, for reading.
fn read<'a>(keyspace: &'a Keyspace<'_>, path: &[u8]) -> Result<Option<Bucket<'a>>, CommandError> {
    let mut bucket = keyspace.root();
    let names = if path.is_empty() { Vec::new() } else { names(path)? };
    for name in std::iter::once(ROOT).chain(names.iter().map(Vec::as_slice)) {
        bucket = match bucket.bucket(name) {
            Ok(bucket) => bucket,
            Err(Error::BucketNotFound { .. }) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
    }
    Ok(Some(bucket))
}

/// The bucket at a path, for writing.
fn write<'t, 'db>(
    call: &'t mut Call<'_, 'db>,
    names: &[Vec<u8>],
) -> Result<BucketMut<'t, 'db>, CommandError> {
    let mut bucket = call.keyspace.writer()?.root_mut().into_bucket_mut(ROOT)?;
    for name in names {
        bucket = bucket.into_bucket_mut(name)?;
    }
    Ok(bucket)
}

fn create(call: &mut Call<'_, '_>) -> CommandResult {
    let path = call.args[2];
    let names = names(path)?;
    let made = read(call.keyspace, path)?.is_none();
    if made {
        let mut at = Vec::new();
        call.keyspace.writer()?.root_mut().create_bucket_if_absent(ROOT)?;
        for name in names {
            write(call, &at)?.create_bucket_if_absent(&name)?;
            at.push(name);
        }
    }
    call.reply.integer(i64::from(made));
    Ok(())
}

fn drop_bucket(call: &mut Call<'_, '_>) -> CommandResult {
    let path = call.args[2];
    let mut names = names(path)?;
    let there = read(call.keyspace, path)?.is_some();
    if there {
        let last = names.pop().expect("a path has a name");
        write(call, &names)?.delete_bucket(&last)?;
    }
    call.reply.integer(i64::from(there));
    Ok(())
}

fn list(call: &mut Call<'_, '_>) -> CommandResult {
    let path = match &call.args[2..] {
        [] => &b""[..],
        [path] => path,
        _ => return Err(CommandError::arity("weald.bucket|list")),
    };
    let names = match read(call.keyspace, path)? {
        Some(bucket) => bucket.buckets()?,
        None if path.is_empty() => Vec::new(),
        None => return Err(absent(path)),
    };
    call.reply.array(names.len());
    names.iter().for_each(|name| call.reply.bulk(name));
    Ok(())
}

fn check_key(call: &Call<'_, '_>, key: &[u8]) -> CommandResult {
    let max = call.state.db.key_len_max();
    if key.len() > max {
        return Err(CommandError::new(format!(
            "ERR a key of a bucket has at most {max} bytes, not {}",
            key.len()
        )));
    }
    Ok(())
}

fn put(call: &mut Call<'_, '_>) -> CommandResult {
    let (path, key, value) = (call.args[2], call.args[3], call.args[4]);
    check_key(call, key)?;
    let names = names(path)?;
    if read(call.keyspace, path)?.is_none() {
        return Err(absent(path));
    }
    write(call, &names)?.put(key, value)?;
    call.reply.ok();
    Ok(())
}

fn get(call: &mut Call<'_, '_>) -> CommandResult {
    let (path, key) = (call.args[2], call.args[3]);
    let value = match read(call.keyspace, path)? {
        Some(bucket) => bucket.get(key)?,
        None => return Err(absent(path)),
    };
    call.reply.bulk_or_null(value.as_deref());
    Ok(())
}

fn del(call: &mut Call<'_, '_>) -> CommandResult {
    let (path, key) = (call.args[2], call.args[3]);
    check_key(call, key)?;
    let names = names(path)?;
    if read(call.keyspace, path)?.is_none() {
        return Err(absent(path));
    }
    let there = write(call, &names)?.delete(key)?;
    call.reply.integer(i64::from(there));
    Ok(())
}

fn len(call: &mut Call<'_, '_>) -> CommandResult {
    let path = call.args[2];
    let len = match read(call.keyspace, path)? {
        Some(bucket) => bucket.len()?,
        None => return Err(absent(path)),
    };
    call.reply.integer(len as i64);
    Ok(())
}

fn scan(call: &mut Call<'_, '_>) -> CommandResult {
    let (mut from, mut to, mut prefix, mut count, mut backwards) = (&b""[..], None, &b""[..], 100, false);
    let mut rest = &call.args[3..];
    while let Some((word, after)) = rest.split_first() {
        rest = after;
        if is(word, "rev") {
            backwards = true;
            continue;
        }
        let (value, after) = rest.split_first().ok_or_else(CommandError::syntax)?;
        rest = after;
        match word.to_ascii_lowercase().as_slice() {
            b"from" => from = value,
            b"to" => to = Some(*value),
            b"prefix" => prefix = value,
            b"count" => {
                count = usize::try_from(integer(value)?)
                    .ok()
                    .filter(|count| (1..=SCAN_MAX).contains(count))
                    .ok_or_else(|| {
                        CommandError::new(format!("ERR COUNT must be between 1 and {SCAN_MAX}"))
                    })?;
            }
            _ => return Err(CommandError::syntax()),
        }
    }
    let path = call.args[2];
    let Some(bucket) = read(call.keyspace, path)? else {
        return Err(absent(path));
    };
    let start = from.max(prefix);
    let pairs = match to {
        Some(to) => bucket.range(start..to.max(start)),
        None => bucket.range(start..),
    };
    let mut reply = weald_resp::Reply::new(call.session.protocol);
    let mut found = 0;
    let mut add = |pair: weald_engine::Result<(&[u8], &[u8])>| -> Result<bool, CommandError> {
        let (key, value) = pair?;
        if !key.starts_with(prefix) {
            // Backwards those with a greater prefix come first.
            return Ok(backwards && key > prefix);
        }
        reply.bulk(key);
        reply.bulk(value);
        found += 1;
        Ok(found < count)
    };
    let mut pairs = pairs;
    while let Some(pair) = if backwards {
        pairs.next_back()
    } else {
        pairs.next()
    } {
        if !add(pair)? {
            break;
        }
    }
    call.reply.array(2 * found);
    call.reply.raw(reply.bytes());
    Ok(())
}
