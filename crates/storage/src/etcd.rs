//! The backend `etcd`: an etcd cluster that runs already, through its JSON interface.
//!
//! Linearizable, and small: etcd is made for some gigabytes at most. An item is one value under `<prefix><key>`; a batch is one transaction as far
//! as etcd takes it, which holds only if no key of it changed since it was compared here.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::changes::{ChangeRing, Changes};
use crate::error::{Error, Result};
use crate::item::{Item, Version};
use crate::reads::Reads;
use crate::registry::{Login, Options};
use crate::storage::{Decide, Durability, Limits, Range, Stats, Storage};

const NAME: &str = "etcd";
const KEY_LEN_MAX: usize = 16 << 10;
/// etcd refuses requests over 1.5 MiB, as it comes.
const VALUE_LEN_MAX: usize = 900_000;
/// What a transaction may hold: etcd's own limits are 128 operations and the size of a request.
const BATCH_KEYS_MAX: usize = 100;
const BATCH_BYTES_MAX: usize = 1 << 19;
const PAGE: usize = 256;
const TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 1 << 30;

pub(crate) struct Etcd {
    agent: ureq::Agent,
    login: Option<Login>,
    /// What etcd gave for the password, which it takes for some minutes.
    token: Mutex<Option<String>>,
    endpoints: Vec<String>,
    /// The endpoint that answered last.
    current: AtomicUsize,
    prefix: Vec<u8>,
    ring: ChangeRing,
    reads: Reads,
    closed: AtomicBool,
}

/// What is stored, and since when: the revision tells whether it changed.
struct Stored {
    key: Vec<u8>,
    item: Item,
    revision: String,
}

impl Etcd {
    pub(crate) fn open(options: &Options) -> Result<Etcd> {
        options.know_only(NAME, &["endpoints", "prefix", "user", "password-file"])?;
        let endpoints = options.need_setting(
            NAME,
            "endpoints",
            "addresses of etcd's client ports, host:port, separated by commas",
        )?;
        let prefix = options.settings.get("prefix").map_or("weald/", String::as_str);
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .build()
            .into();
        let store = Etcd {
            agent,
            login: options.login(NAME)?,
            token: Mutex::new(None),
            endpoints: endpoints
                .split(',')
                .map(|at| format!("http://{}", at.trim()))
                .collect(),
            current: AtomicUsize::new(0),
            prefix: prefix.into(),
            ring: ChangeRing::new(options.change_capacity),
            reads: Reads::default(),
            closed: AtomicBool::new(false),
        };
        store.call("/v3/maintenance/status", &json!({}))?;
        Ok(store)
    }

    /// Asks the endpoint that answered last, and the others where it doesn't answer. All requests may be repeated: a transaction that was done
    /// already fails its comparison, and is then compared anew.
    fn call(&self, path: &str, request: &Value) -> Result<Value> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        let first = self.current.load(Ordering::Relaxed);
        let mut last = None;
        for turn in 0..self.endpoints.len() {
            let place = (first + turn) % self.endpoints.len();
            let endpoint = &self.endpoints[place];
            match self.post(&format!("{endpoint}{path}"), endpoint, request) {
                Ok(answer) => {
                    self.current.store(place, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("there is an endpoint, since splitting gives at least one"))
    }

    fn post(&self, url: &str, endpoint: &str, request: &Value) -> Result<Value> {
        let token = self.token(endpoint)?;
        let (status, answer) = self.exchange(url, request, token.as_deref())?;
        if status != 401 || self.login.is_none() {
            return accepted(status, answer);
        }
        // The token is too old, or etcd forgot it when it was started again.
        *self.held_token() = None;
        let token = self.token(endpoint)?;
        let (status, answer) = self.exchange(url, request, token.as_deref())?;
        accepted(status, answer)
    }

    /// What to say with a request, where there is a password.
    fn token(&self, endpoint: &str) -> Result<Option<String>> {
        let Some(login) = &self.login else {
            return Ok(None);
        };
        if let Some(token) = &*self.held_token() {
            return Ok(Some(token.clone()));
        }
        let name = login.user.as_deref().unwrap_or("root");
        let request = json!({"name": name, "password": login.password});
        let url = format!("{endpoint}/v3/auth/authenticate");
        let (status, answer) = self.exchange(&url, &request, None)?;
        let token = accepted(status, answer)?["token"]
            .as_str()
            .ok_or_else(|| failed("it gave no token for the password"))?
            .to_owned();
        *self.held_token() = Some(token.clone());
        Ok(Some(token))
    }

    fn held_token(&self) -> MutexGuard<'_, Option<String>> {
        self.token.lock().expect("nothing panics while it is held")
    }

    fn exchange(&self, url: &str, request: &Value, token: Option<&str>) -> Result<(u16, Value)> {
        let body = request.to_string();
        let mut post = self.agent.post(url).header("content-type", "application/json");
        if let Some(token) = token {
            post = post.header("authorization", token);
        }
        let mut response = post.send(body.as_bytes()).map_err(failed)?;
        let status = response.status().as_u16();
        let reader = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).reader();
        let answer: Value = serde_json::from_reader(reader).map_err(failed)?;
        Ok((status, answer))
    }

    fn name(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix, key].concat()
    }

    fn encoded(&self, key: &[u8]) -> String {
        BASE64.encode(self.name(key))
    }

    fn stored(&self, pair: &Value) -> Result<Stored> {
        let bytes = |field: &str| {
            let text = pair[field].as_str().unwrap_or_default();
            BASE64.decode(text).map_err(failed)
        };
        let name = bytes("key")?;
        let key = name
            .strip_prefix(&self.prefix[..])
            .ok_or_else(|| failed("a key without our prefix"))?;
        Ok(Stored {
            item: Item::decode(key, &bytes("value")?)?,
            key: key.to_vec(),
            revision: pair["mod_revision"].as_str().unwrap_or("0").to_owned(),
        })
    }

    fn load(&self, key: &[u8]) -> Result<Option<Stored>> {
        if key.len() > KEY_LEN_MAX {
            return Ok(None);
        }
        let answer = self.call("/v3/kv/range", &json!({ "key": self.encoded(key) }))?;
        answer["kvs"]
            .as_array()
            .and_then(|pairs| pairs.first())
            .map(|pair| self.stored(pair))
            .transpose()
    }

    /// Where a range begins and ends among all of etcd's keys; the end is not part of it.
    fn ends(&self, range: &Range) -> (Vec<u8>, Vec<u8>) {
        let mut behind = Range::prefix(&self.prefix);
        let from = match &range.from {
            Bound::Unbounded => self.prefix.clone(),
            Bound::Included(key) => self.name(key),
            Bound::Excluded(key) => [&self.name(key)[..], &[0]].concat(),
        };
        let to = match &range.to {
            Bound::Included(key) => [&self.name(key)[..], &[0]].concat(),
            Bound::Excluded(key) => self.name(key),
            Bound::Unbounded => match std::mem::replace(&mut behind.to, Bound::Unbounded) {
                Bound::Excluded(end) => end,
                // etcd's way to say "to the end".
                _ => vec![0],
            },
        };
        (from, to)
    }

    /// One transaction with as many of the keys as one takes: how many, or `None` if somebody changed one of them meanwhile.
    fn update_some(&self, keys: &[&[u8]], decide: &mut Decide<'_>) -> Result<Option<usize>> {
        let limits = self.limits();
        let mut before: BTreeMap<&[u8], String> = BTreeMap::new();
        let mut decided: BTreeMap<&[u8], Item> = BTreeMap::new();
        let (mut done, mut bytes) = (0, 0);
        for (place, &key) in keys.iter().enumerate() {
            if before.len() == BATCH_KEYS_MAX || bytes > BATCH_BYTES_MAX {
                break;
            }
            let old = match decided.get(key) {
                Some(item) => Some(item.clone()),
                None => {
                    let old = self.load(key)?;
                    before.insert(key, old.as_ref().map_or("0".into(), |old| old.revision.clone()));
                    old.map(|old| old.item)
                }
            };
            if let Some(item) = decide(place, old)? {
                limits.check(key, &item)?;
                bytes += 2 * key.len() + item.size();
                decided.insert(key, item);
            }
            done = place + 1;
        }
        if decided.is_empty() {
            return Ok(Some(done));
        }
        let compare = |(key, revision): (&&[u8], &String)| json!({ "key": self.encoded(key), "target": "MOD", "result": "EQUAL", "mod_revision": revision });
        let put = |(key, item): (&&[u8], &Item)| {
            let value = BASE64.encode(item.to_bytes());
            json!({ "request_put": { "key": self.encoded(key), "value": value } })
        };
        let compared: Vec<Value> = before.iter().map(compare).collect();
        let puts: Vec<Value> = decided.iter().map(put).collect();
        let answer = self.call("/v3/kv/txn", &json!({ "compare": compared, "success": puts }))?;
        if answer["succeeded"] != true {
            return Ok(None);
        }
        self.ring
            .push_all(decided.iter().map(|(key, item)| (*key, item.version)));
        Ok(Some(done))
    }
}

impl Storage for Etcd {
    fn backend(&self) -> &'static str {
        NAME
    }

    fn limits(&self) -> Limits {
        Limits {
            key_len_max: KEY_LEN_MAX,
            value_len_max: VALUE_LEN_MAX,
            durable: true,
            atomic: false,
            snapshots: false,
            forgets: false,
            shared: true,
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Item>> {
        let found = self.load(key)?;
        self.reads.count(found.is_some());
        Ok(found.map(|stored| stored.item))
    }

    fn update(&self, keys: &[&[u8]], _: Durability, decide: &mut Decide<'_>) -> Result<()> {
        let limits = self.limits();
        keys.iter().try_for_each(|key| limits.check_key(key))?;
        let mut done = 0;
        while done < keys.len() {
            let some = self.update_some(&keys[done..], &mut |place, old| decide(done + place, old))?;
            done += some.unwrap_or(0);
        }
        Ok(())
    }

    fn purge(&self, key: &[u8], version: Version) -> Result<bool> {
        let Some(old) = self.load(key)?.filter(|old| old.item.version == version) else {
            return Ok(false);
        };
        let name = self.encoded(key);
        let request = json!({
            "compare": [{ "key": name, "target": "MOD", "result": "EQUAL", "mod_revision": old.revision }],
            "success": [{ "request_delete_range": { "key": name } }],
        });
        Ok(self.call("/v3/kv/txn", &request)?["succeeded"] == true)
    }

    fn scan(&self, range: &Range, see: &mut dyn FnMut(&[u8], Item) -> Result<bool>) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let (mut from, to) = self.ends(range);
        loop {
            let request =
                json!({ "key": BASE64.encode(&from), "range_end": BASE64.encode(&to), "limit": PAGE });
            let answer = self.call("/v3/kv/range", &request)?;
            let pairs = answer["kvs"].as_array().map_or(&[][..], Vec::as_slice);
            let mut last = None;
            for pair in pairs {
                let stored = self.stored(pair)?;
                if !see(&stored.key, stored.item)? {
                    return Ok(());
                }
                last = Some(stored.key);
            }
            match last {
                Some(key) if answer["more"] == true => from = [&self.name(&key)[..], &[0]].concat(),
                _ => return Ok(()),
            }
        }
    }

    /// Of the writes through this handle; others that write to the same cluster are not seen.
    fn changes(&self, since: u64) -> Changes {
        self.ring.since(since)
    }

    fn clear(&self) -> Result<()> {
        let (from, to) = self.ends(&Range::ALL);
        let request = json!({ "key": BASE64.encode(from), "range_end": BASE64.encode(to) });
        self.call("/v3/kv/deleterange", &request)?;
        self.ring.forget();
        Ok(())
    }

    /// etcd acknowledges only what a majority has on its disks.
    fn flush(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }

    fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        Ok(())
    }

    /// The bytes are those of etcd's whole database.
    fn stats(&self) -> Result<Stats> {
        let (from, to) = self.ends(&Range::ALL);
        let request =
            json!({ "key": BASE64.encode(from), "range_end": BASE64.encode(to), "count_only": true });
        let number = |value: &Value| value.as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Stats {
            keys: number(&self.call("/v3/kv/range", &request)?["count"]),
            bytes: number(&self.call("/v3/maintenance/status", &json!({}))?["dbSize"]),
            hits: self.reads.hits(),
            misses: self.reads.misses(),
            changes: self.ring.count(),
            ..Stats::default()
        })
    }
}

fn accepted(status: u16, answer: Value) -> Result<Value> {
    if (200..300).contains(&status) {
        return Ok(answer);
    }
    let message = answer["error"].as_str().unwrap_or("no reason given");
    Err(failed(format!("{status}: {message}")))
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::backend(NAME, error)
}
