//! What a keyspace remembers of itself: how keys are hashed, which buckets each database has, which ids are used.

use weald_engine::{BucketId, Database, Readable, Writable};

use crate::error::CommandError;
use crate::keyspace::record::damaged;
use crate::keyspace::{Buckets, Encodings, Keyspace, Lookups, Result, Uses};
use crate::net::now_ms;
use crate::tick::Tick;

/// The bucket that all of this is in.
const NAME: &[u8] = b"redis";
const FORMAT: u64 = 1;
/// How many ids are reserved at a time.
const IDS: u64 = 4096;

const FORMAT_KEY: &[u8] = b"format";
const SEED_KEY: &[u8] = b"seed";
const IDS_KEY: &[u8] = b"ids";
const ORDER_KEY: &[u8] = b"order";

impl<'db> Keyspace<'db> {
    /// The keyspace in the tick's database, begun if there is none yet.
    pub(crate) fn open(mut tick: Tick<'db>, databases: usize) -> Result<Keyspace<'db>> {
        let db: &'db Database = tick.db();
        tick.roll_back();
        let mut random = fastrand::Rng::new();
        let mut tx = db.write()?;
        let mut top = tx.create_bucket_if_absent(NAME)?;
        match number(top.get(FORMAT_KEY)?)? {
            Some(FORMAT) => {}
            Some(format) => {
                let text =
                    format!("ERR the keyspace is of format {format}, which this version does not know");
                return Err(CommandError::new(text));
            }
            None => {
                top.put(FORMAT_KEY, &FORMAT.to_le_bytes())?;
                top.put(SEED_KEY, &random.u64(..).to_le_bytes())?;
            }
        }
        let seed = number(top.get(SEED_KEY)?)?.ok_or_else(damaged)?;
        let next_id = number(top.get(IDS_KEY)?)?.unwrap_or(1);
        let order = order_of(top.get(ORDER_KEY)?.as_deref(), databases)?;
        let meta = top.as_bucket()?.id();
        let mut buckets = Vec::with_capacity(order.len());
        for number in 0..order.len() {
            let mut bucket = |what: &str| -> Result<BucketId> {
                let name = format!("{number}/{what}");
                Ok(top.create_bucket_if_absent(name.as_bytes())?.as_bucket()?.id())
            };
            buckets.push(Buckets {
                keys: bucket("keys")?,
                items: bucket("items")?,
                expiry: bucket("expiry")?,
                garbage: bucket("garbage")?,
            });
        }
        tx.commit()?;
        Ok(Keyspace {
            tick,
            now_ms: 0,
            encodings: Encodings::default(),
            random,
            seed,
            meta,
            buckets,
            last: std::cell::Cell::new(None),
            order,
            order_changed: false,
            next_id,
            ids_reserved: next_id,
            lapsed: Vec::new(),
            lookups: Lookups::default(),
            uses: Uses::new(now_ms()),
            scratch: Vec::new(),
        })
    }

    /// After a tick was rolled back: what was remembered of its writes is forgotten.
    pub(crate) fn forget(&mut self) {
        self.lapsed.clear();
        // The reservation may be gone; the ids are not given again all the same.
        self.ids_reserved = self.next_id;
        if self.order_changed {
            let stored = || -> Result<Vec<usize>> {
                let tx = self.tick.db().read()?;
                let order = tx.bucket_by_id(self.meta)?.get(ORDER_KEY)?;
                order_of(order.as_deref(), self.order.len())
            };
            match stored() {
                Ok(order) => self.order = order,
                Err(e) => log::error!("what SWAPDB changed could not be read again: {e:?}"),
            }
        }
    }

    /// An id for the elements of a collection.
    pub(super) fn new_id(&mut self) -> Result<u64> {
        if self.next_id >= self.ids_reserved {
            let reserved = self.next_id + IDS;
            self.put(self.meta, IDS_KEY, &reserved.to_le_bytes())?;
            self.ids_reserved = reserved;
        }
        self.next_id += 1;
        Ok(self.next_id - 1)
    }

    /// Two databases change places.
    pub(crate) fn swap(&mut self, a: usize, b: usize) -> Result<()> {
        let mut order = self.order.clone();
        order.swap(a, b);
        let bytes: Vec<u8> = order
            .iter()
            .flat_map(|number| (*number as u32).to_le_bytes())
            .collect();
        self.put(self.meta, ORDER_KEY, &bytes)?;
        self.order = order;
        self.order_changed = true;
        Ok(())
    }
}

fn number(stored: Option<Vec<u8>>) -> Result<Option<u64>> {
    let number = |bytes: Vec<u8>| bytes.try_into().map(u64::from_le_bytes).map_err(|_| damaged());
    stored.map(number).transpose()
}

/// The order of at least so many databases: more than were stored come after those.
fn order_of(stored: Option<&[u8]>, databases: usize) -> Result<Vec<usize>> {
    let bytes = stored.unwrap_or_default();
    let words = bytes
        .chunks(4)
        .map(|word| Some(u32::from_le_bytes(word.try_into().ok()?) as usize));
    let mut order: Vec<usize> = words.collect::<Option<_>>().ok_or_else(damaged)?;
    order.extend(order.len()..databases);
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted.iter().enumerate().any(|(i, number)| i != *number) {
        return Err(damaged());
    }
    Ok(order)
}
