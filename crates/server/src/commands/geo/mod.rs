//! Places in sorted sets: the score of a member is where it is.
//!
//! ```text
//! search ─► shape: which squares of the map a circle or box lies in ─► hash: squares, scores and places
//! ```

mod hash;
mod search;
mod shape;

use crate::call::Call;
use crate::commands::args::{Result, float, is_word};
use crate::commands::decimal;
use crate::commands::zsets::{self, AddOptions};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::Kind;
use crate::registry::{Access, Command, Flags, Group, Handler, KeySpec};

use hash::{Bounds, Place, Square};

const READ: Flags = Flags::READONLY;
const GROW: Flags = Flags::WRITE.and(Flags::DENYOOM);
const ONE_READ: &[KeySpec] = &[KeySpec::one(1, Access::Read)];
/// Options that an argument follows, which may be a word that means something else.
const BESIDE_STORE: &[(&str, usize)] = &[("count", 1), ("storedist", 1)];
const BESIDE_STOREDIST: &[(&str, usize)] = &[("count", 1), ("store", 1)];

const fn geo(
    name: &'static str,
    arity: i32,
    since: &'static str,
    flags: Flags,
    keys: &'static [KeySpec],
    summary: &'static str,
    handler: Handler,
) -> Command {
    Command::new(name, arity, Group::Geo, since, summary, handler)
        .flags(flags)
        .keys(keys)
}

pub(crate) const COMMANDS: &[Command] = &[
    geo(
        "geoadd",
        -5,
        "3.2.0",
        GROW,
        KeySpec::ONE_CHANGE,
        "Adds members with their places.",
        geoadd,
    ),
    geo(
        "geodist",
        -4,
        "3.2.0",
        READ,
        ONE_READ,
        "Returns how far two members are from each other.",
        geodist,
    ),
    geo(
        "geohash",
        -2,
        "3.2.0",
        READ,
        ONE_READ,
        "Returns the places of members as geohashes.",
        geohash,
    ),
    geo(
        "geopos",
        -2,
        "3.2.0",
        READ,
        ONE_READ,
        "Returns the places of members.",
        geopos,
    ),
    geo(
        "georadius",
        -6,
        "3.2.0",
        GROW.and(Flags::LOOKS),
        &[
            KeySpec::one(1, Access::Read),
            KeySpec::keyword("store", 6, BESIDE_STORE, Access::Overwrite),
            KeySpec::keyword("storedist", 6, BESIDE_STOREDIST, Access::Overwrite),
        ],
        "Finds or stores members around a place.",
        search::georadius,
    ),
    geo(
        "georadius_ro",
        -6,
        "3.2.10",
        READ,
        ONE_READ,
        "Finds members around a place.",
        search::georadius,
    ),
    geo(
        "georadiusbymember",
        -5,
        "3.2.0",
        GROW.and(Flags::LOOKS),
        &[
            KeySpec::one(1, Access::Read),
            KeySpec::keyword("store", 5, BESIDE_STORE, Access::Overwrite),
            KeySpec::keyword("storedist", 5, BESIDE_STOREDIST, Access::Overwrite),
        ],
        "Finds or stores members around a member.",
        search::georadiusbymember,
    ),
    geo(
        "georadiusbymember_ro",
        -5,
        "3.2.10",
        READ,
        ONE_READ,
        "Finds members around a member.",
        search::georadiusbymember,
    ),
    geo(
        "geosearch",
        -7,
        "6.2.0",
        READ,
        ONE_READ,
        "Finds members in a circle or box.",
        search::geosearch,
    ),
    geo(
        "geosearchstore",
        -8,
        "6.2.0",
        GROW.and(Flags::LOOKS),
        &[KeySpec::one(1, Access::Overwrite), KeySpec::one(2, Access::Read)],
        "Stores members in a circle or box.",
        search::geosearchstore,
    ),
];

/// A place among the arguments.
fn place_of(longitude: &[u8], latitude: &[u8]) -> Result<Place> {
    let place = Place {
        longitude: float(longitude)?,
        latitude: float(latitude)?,
    };
    if Bounds::MAP.has(place) {
        Ok(place)
    } else {
        Err(CommandError::new(format!(
            "ERR invalid longitude,latitude pair {:.6},{:.6}",
            place.longitude, place.latitude
        )))
    }
}

/// How many metres a unit has.
fn unit(arg: &[u8]) -> Result<f64> {
    [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)]
        .iter()
        .find(|(name, _)| is_word(arg, name))
        .map(|(_, metres)| *metres)
        .ok_or_else(|| CommandError::new("ERR unsupported unit provided. please use M, KM, FT, MI"))
}

/// A distance with four digits after the point.
fn fixed(distance: f64) -> String {
    format!("{:.4}", (distance * 1e4).round_ties_even() / 1e4)
}

fn reply_place(call: &mut Call<'_, '_>, place: Place) {
    call.reply.array(2);
    for degrees in [place.longitude, place.latitude] {
        if call.reply.is_resp3() {
            call.reply.double(degrees);
        } else {
            call.reply.bulk(decimal::plain(degrees).as_bytes());
        }
    }
}

fn geoadd(call: &mut Call<'_, '_>) -> CommandResult {
    let mut options = AddOptions::default();
    let mut rest = &call.args[2..];
    while let [word, after @ ..] = rest {
        match word.to_ascii_lowercase().as_slice() {
            b"nx" => options.nx = true,
            b"xx" => options.xx = true,
            b"ch" => options.ch = true,
            _ => break,
        }
        rest = after;
    }
    if rest.is_empty() || !rest.len().is_multiple_of(3) || options.nx && options.xx {
        return Err(CommandError::syntax());
    }
    let mut scores = Vec::with_capacity(rest.len() / 3);
    for triple in rest.chunks_exact(3) {
        let place = place_of(triple[0], triple[1])?;
        scores.push((hash::score(place) as f64, triple[2]));
    }
    zsets::add(call, &options, &scores)
}

/// The places of the members that the arguments from the third on name.
fn places(call: &Call<'_, '_>) -> Result<Vec<Option<Place>>> {
    let db = call.session.db;
    let record = call.keyspace.find_kind(db, call.args[1], Kind::ZSet)?;
    let place = |member: &&[u8]| {
        let Some(record) = &record else { return Ok(None) };
        let score = call.keyspace.score(db, record, member)?;
        Ok(score.map(|score| Square::of_score(score).middle()))
    };
    call.args[2..].iter().map(place).collect()
}

fn geohash(call: &mut Call<'_, '_>) -> CommandResult {
    let places = places(call)?;
    call.reply.array(places.len());
    for place in places {
        let letters = place.map(hash::letters);
        call.reply
            .bulk_or_null(letters.as_ref().map(|letters| &letters[..]));
    }
    Ok(())
}

fn geopos(call: &mut Call<'_, '_>) -> CommandResult {
    let places = places(call)?;
    call.reply.array(places.len());
    for place in places {
        match place {
            Some(place) => reply_place(call, place),
            None => call.reply.null_array(),
        }
    }
    Ok(())
}

fn geodist(call: &mut Call<'_, '_>) -> CommandResult {
    let db = call.session.db;
    let metres = match &call.args[4..] {
        [] => 1.0,
        [arg] => unit(arg)?,
        _ => return Err(CommandError::syntax()),
    };
    let mut found = Vec::with_capacity(2);
    if let Some(record) = call.keyspace.find_kind(db, call.args[1], Kind::ZSet)? {
        for member in &call.args[2..4] {
            let score = call.keyspace.score(db, &record, member)?;
            found.extend(score.map(|score| Square::of_score(score).middle()));
        }
    }
    match found[..] {
        [from, to] => call
            .reply
            .bulk(fixed(hash::distance(from, to) / metres).as_bytes()),
        _ => call.reply.null(),
    }
    Ok(())
}
