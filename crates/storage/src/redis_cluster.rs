//! The backend `redis-cluster`: a Redis Cluster that runs already, or what speaks its protocol (Valkey, Kvrocks, MemoryDB).
//!
//! An item is one string under `<prefix><key>`. It is compared here and replaced there only if it still is what was compared, by a script of
//! one line, so that any number of processes may write. What such a cluster acknowledges it may lose when a primary fails: that is Redis's own
//! promise, not ours.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::cluster::{ClusterClient, ClusterConnection, cluster_pipe};
use redis::{Client, Connection, FromRedisValue, RedisResult, Value};

use crate::changes::{ChangeRing, Changes};
use crate::error::{Error, Result};
use crate::item::{Item, Version};
use crate::reads::Reads;
use crate::registry::{Login, Options};
use crate::storage::{Decide, Durability, Limits, Range, Stats, Storage};

const NAME: &str = "redis-cluster";
const KEY_LEN_MAX: usize = 64 << 10;
/// Redis takes 512 MiB a string, the item's header included.
const VALUE_LEN_MAX: usize = 511 << 20;
/// Keys read in one round.
const PAGE: usize = 256;

/// Replaces what is expected (nothing, if that is empty) by something else (nothing, if that is empty).
const SWAP: &str = "local old = redis.call('GET', KEYS[1]) or ''
if old ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2]) end
return 1";

pub(crate) struct RedisCluster {
    client: ClusterClient,
    login: Option<Login>,
    idle: Mutex<Vec<ClusterConnection>>,
    prefix: Vec<u8>,
    ring: ChangeRing,
    reads: Reads,
    closed: AtomicBool,
}

impl RedisCluster {
    pub(crate) fn open(options: &Options) -> Result<RedisCluster> {
        options.know_only(NAME, &["nodes", "prefix", "user", "password-file"])?;
        let login = options.login(NAME)?;
        let nodes = options.need_setting(
            NAME,
            "nodes",
            "addresses of some nodes, host:port, separated by commas",
        )?;
        let urls: Vec<String> = nodes
            .split(',')
            .map(|node| format!("redis://{}", node.trim()))
            .collect();
        let prefix = options.settings.get("prefix").map_or("weald:", String::as_str);
        let mut builder = ClusterClient::builder(urls);
        if let Some(login) = &login {
            builder = builder.password(login.password.clone());
            if let Some(user) = &login.user {
                builder = builder.username(user.clone());
            }
        }
        let store = RedisCluster {
            client: builder.build().map_err(failed)?,
            login,
            idle: Mutex::new(Vec::new()),
            prefix: prefix.into(),
            ring: ChangeRing::new(options.change_capacity),
            reads: Reads::default(),
            closed: AtomicBool::new(false),
        };
        store.with(|connection| redis::cmd("PING").query::<()>(connection))?;
        Ok(store)
    }

    /// Works with a connection, and keeps it unless something was wrong.
    fn with<T>(&self, work: impl FnOnce(&mut ClusterConnection) -> RedisResult<T>) -> Result<T> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        let idle = self.idle.lock().expect("nothing panics while it is held").pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.client.get_connection().map_err(failed)?,
        };
        let result = work(&mut connection).map_err(failed)?;
        self.idle
            .lock()
            .expect("nothing panics while it is held")
            .push(connection);
        Ok(result)
    }

    /// A connection to one server of the cluster.
    fn connect(&self, host: String, port: u16) -> Result<Connection> {
        let mut connection = Client::open((host, port))
            .and_then(|client| client.get_connection())
            .map_err(failed)?;
        if let Some(login) = &self.login {
            redis::cmd("AUTH")
                .arg(login.user.as_deref().unwrap_or("default"))
                .arg(&login.password)
                .query::<()>(&mut connection)
                .map_err(failed)?;
        }
        Ok(connection)
    }

    fn name(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix, key].concat()
    }

    fn load(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if key.len() > KEY_LEN_MAX {
            return Ok(None);
        }
        self.with(|connection| redis::cmd("GET").arg(self.name(key)).query(connection))
    }

    fn swap(&self, key: &[u8], old: &[u8], new: &[u8]) -> Result<bool> {
        let mut command = redis::cmd("EVAL");
        command.arg(SWAP).arg(1).arg(self.name(key)).arg(old).arg(new);
        self.with(|connection| command.query(connection))
    }

    fn update_one(
        &self,
        key: &[u8],
        mut decide: impl FnMut(Option<Item>) -> Result<Option<Item>>,
    ) -> Result<()> {
        loop {
            let old = self.load(key)?;
            let item = old.as_deref().map(|old| Item::decode(key, old)).transpose()?;
            let Some(new) = decide(item)? else { return Ok(()) };
            self.limits().check(key, &new)?;
            if self.swap(key, &old.unwrap_or_default(), &new.to_bytes())? {
                self.ring.push(key, new.version);
                return Ok(());
            }
        }
    }

    /// The addresses of those that hold slots.
    fn primaries(&self) -> Result<BTreeSet<(String, u16)>> {
        let slots: Vec<Vec<Value>> =
            self.with(|connection| redis::cmd("CLUSTER").arg("SLOTS").query(connection))?;
        let address = |slot: &Vec<Value>| -> Option<(String, u16)> {
            let Value::Array(primary) = slot.get(2)? else {
                return None;
            };
            let host = String::from_redis_value(primary.first()?.clone()).ok()?;
            let port = u16::from_redis_value(primary.get(1)?.clone()).ok()?;
            Some((host, port))
        };
        slots
            .iter()
            .map(|slot| {
                address(slot).ok_or_else(|| Error::backend(NAME, "CLUSTER SLOTS answered something unknown"))
            })
            .collect()
    }

    /// Our keys of a range, in order: asked of every primary, since none knows the order.
    fn keys(&self, range: &Range) -> Result<BTreeSet<Vec<u8>>> {
        let pattern = [&glob(&self.prefix)[..], b"*"].concat();
        let mut keys = BTreeSet::new();
        for (host, port) in self.primaries()? {
            let mut connection = self.connect(host, port)?;
            let mut cursor = 0_u64;
            loop {
                let mut command = redis::cmd("SCAN");
                command
                    .arg(cursor)
                    .arg("MATCH")
                    .arg(&pattern)
                    .arg("COUNT")
                    .arg(1000);
                let (next, names): (u64, Vec<Vec<u8>>) = command.query(&mut connection).map_err(failed)?;
                let own = names
                    .iter()
                    .filter_map(|name| name.strip_prefix(&self.prefix[..]));
                keys.extend(own.filter(|key| range.contains(key)).map(<[u8]>::to_vec));
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(keys)
    }

    fn load_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Item>>> {
        let mut found = Vec::with_capacity(keys.len());
        for page in keys.chunks(PAGE) {
            let mut pipe = cluster_pipe();
            for key in page {
                pipe.cmd("GET").arg(self.name(key));
            }
            let values: Vec<Option<Vec<u8>>> = self.with(|connection| pipe.query(connection))?;
            for (key, bytes) in page.iter().zip(values) {
                found.push(bytes.map(|bytes| Item::decode(key, &bytes)).transpose()?);
            }
        }
        Ok(found)
    }
}

/// A pattern that matches these bytes and nothing else.
fn glob(bytes: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        if b"*?[]\\^".contains(&byte) {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern
}

impl Storage for RedisCluster {
    fn backend(&self) -> &'static str {
        NAME
    }

    fn limits(&self) -> Limits {
        Limits {
            key_len_max: KEY_LEN_MAX,
            value_len_max: VALUE_LEN_MAX,
            durable: false,
            atomic: false,
            snapshots: false,
            forgets: false,
            shared: true,
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Item>> {
        let found = self.load(key)?;
        self.reads.count(found.is_some());
        found.map(|bytes| Item::decode(key, &bytes)).transpose()
    }

    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Item>>> {
        let found = self.load_many(keys)?;
        found.iter().for_each(|item| self.reads.count(item.is_some()));
        Ok(found)
    }

    fn update(&self, keys: &[&[u8]], _: Durability, decide: &mut Decide<'_>) -> Result<()> {
        let limits = self.limits();
        keys.iter().try_for_each(|key| limits.check_key(key))?;
        keys.iter()
            .enumerate()
            .try_for_each(|(place, key)| self.update_one(key, |old| decide(place, old)))
    }

    fn purge(&self, key: &[u8], version: Version) -> Result<bool> {
        let Some(old) = self.load(key)? else {
            return Ok(false);
        };
        if Item::decode(key, &old)?.version != version {
            return Ok(false);
        }
        self.swap(key, &old, b"")
    }

    /// Collects the keys of the range from all primaries first, and sorts them in memory.
    fn scan(&self, range: &Range, see: &mut dyn FnMut(&[u8], Item) -> Result<bool>) -> Result<()> {
        let keys = self.keys(range)?;
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        for page in keys.chunks(PAGE) {
            for (key, item) in page.iter().zip(self.load_many(page)?) {
                if let Some(item) = item
                    && !see(key, item)?
                {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Of the writes through this handle; others that write to the same cluster are not seen.
    fn changes(&self, since: u64) -> Changes {
        self.ring.since(since)
    }

    fn clear(&self) -> Result<()> {
        let keys: Vec<Vec<u8>> = self.keys(&Range::ALL)?.into_iter().collect();
        for page in keys.chunks(PAGE) {
            let mut pipe = cluster_pipe();
            for key in page {
                pipe.cmd("DEL").arg(self.name(key));
            }
            self.with(|connection| pipe.exec(connection))?;
        }
        self.ring.forget();
        Ok(())
    }

    /// When it is durable is up to how the servers are set up.
    fn flush(&self) -> Result<()> {
        self.with(|_| Ok(()))
    }

    fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        self.idle.lock().expect("nothing panics while it is held").clear();
        Ok(())
    }

    /// Counts our keys by asking for all of them. The bytes are those of the whole cluster.
    fn stats(&self) -> Result<Stats> {
        let mut bytes = 0;
        for (host, port) in self.primaries()? {
            let mut connection = self.connect(host, port)?;
            let info: String = redis::cmd("INFO")
                .arg("memory")
                .query(&mut connection)
                .map_err(failed)?;
            let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
            bytes += used.and_then(|used| used.trim().parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Stats {
            keys: self.keys(&Range::ALL)?.len() as u64,
            bytes,
            hits: self.reads.hits(),
            misses: self.reads.misses(),
            changes: self.ring.count(),
            ..Stats::default()
        })
    }
}

fn failed(error: redis::RedisError) -> Error {
    Error::backend(NAME, error)
}
