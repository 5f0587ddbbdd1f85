//! What a database holds, read in every way, against the model.

use std::time::Duration;

use weald_engine::{Bucket, Error, Readable};

use crate::model::{Model, show};
use crate::seed::Rng;

/// Reads everything in one pass.
pub(crate) fn dump(tx: &impl Readable) -> Result<Model, Error> {
    dump_bucket(&tx.root())
}

fn dump_bucket(bucket: &Bucket<'_>) -> Result<Model, Error> {
    let mut model = Model {
        sequence: bucket.sequence()?,
        ..Model::default()
    };
    for pair in bucket.iter() {
        let (key, value) = pair?;
        let mortal = bucket.ttl(key)?.flatten().is_some();
        model.put(key, value, mortal);
    }
    for name in bucket.buckets()? {
        model
            .buckets
            .insert(name.clone(), dump_bucket(&bucket.bucket(&name)?)?);
    }
    Ok(model)
}

/// Reads everything, and more than once: forwards, backwards, from both ends, one by one, and what is not there.
pub(crate) fn check(tx: &impl Readable, model: &Model, rng: &mut Rng) -> Result<(), String> {
    let found = dump(tx).map_err(|e| format!("reading failed: {e}"))?;
    if found != *model {
        return Err(format!("found and expected differ: {}", found.difference(model)));
    }
    let failed = |e: Error| format!("reading failed: {e}");
    for path in model.paths() {
        let mine = model.at(&path).expect("its own path");
        let bucket = path
            .iter()
            .try_fold(tx.root(), |b, name| b.bucket(name))
            .map_err(failed)?;
        check_bucket(&bucket, mine, rng).map_err(|e| format!("bucket {path:02x?}: {e}"))?;
    }
    Ok(())
}

fn check_bucket(bucket: &Bucket<'_>, model: &Model, rng: &mut Rng) -> Result<(), String> {
    let failed = |e: Error| format!("reading failed: {e}");
    let mut backwards = model.pairs.iter().rev();
    for pair in bucket.iter().rev() {
        let (key, value) = pair.map_err(failed)?;
        if backwards.next().map(|(k, v)| (&k[..], &*v.bytes)) != Some((key, value)) {
            return Err(format!("backwards {} comes where it should not", show(key)));
        }
    }
    if let Some((key, _)) = backwards.next() {
        return Err(format!("backwards {} does not come", show(key)));
    }
    let mut iter = bucket.iter();
    let mut ideal = model.pairs.iter();
    loop {
        let front = rng.one_in(2);
        let (is, must) = if front {
            (iter.next(), ideal.next())
        } else {
            (iter.next_back(), ideal.next_back())
        };
        let is = is.transpose().map_err(failed)?;
        if is != must.map(|(k, v)| (&k[..], &*v.bytes)) {
            return Err(format!("from both ends: {:?} came", is.map(|(k, _)| show(k))));
        }
        if must.is_none() {
            break;
        }
    }
    for (key, value) in &model.pairs {
        if bucket.get_ref(key).map_err(failed)? != Some(&*value.bytes) {
            return Err(format!("{} can be iterated but not found", show(key)));
        }
        let left = bucket.ttl(key).map_err(failed)?;
        if left.is_none()
            || left
                .flatten()
                .is_some_and(|left| left < Duration::from_secs(1000))
        {
            return Err(format!("{} has {left:?} to live", show(key)));
        }
        let mut absent = key.clone();
        absent.push(rng.next() as u8);
        if bucket.contains_key(&absent).map_err(failed)? != model.pairs.contains_key(&absent) {
            return Err(format!("{} is found where it should not be", show(&absent)));
        }
    }
    let len = bucket.len().map_err(failed)?;
    let least = model.pairs.len() as u64;
    if len < least || len > least + model.ghosts.len() as u64 {
        return Err(format!("len is {len}, but there are {least} keys"));
    }
    Ok(())
}
