//! Searches for places: the arguments of `GEOSEARCH` and its like, and what is found.

use super::hash::{Place, Square};
use super::shape::{Extent, Shape};
use super::{fixed, place_of, reply_place, unit};
use crate::call::Call;
use crate::commands::args::{Result, parse_float};
use crate::commands::zranges::store_scored;
use crate::commands::{integer, text};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Kind, Order, Record, Walk};

/// Which command searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `GEORADIUS key longitude latitude radius unit`
    Around,
    /// `GEORADIUSBYMEMBER key member radius unit`
    AroundMember,
    /// `GEOSEARCH key`, with all else as options
    Search,
    /// `GEOSEARCHSTORE target key`
    SearchStore,
}

/// What a search is told.
#[derive(Default)]
struct Wanted<'a> {
    middle: Option<Place>,
    extent: Option<Extent>,
    /// How many metres the unit has.
    metres: f64,
    with_distance: bool,
    with_hash: bool,
    with_place: bool,
    count: Option<usize>,
    /// The first that are found will do.
    any: bool,
    descending: Option<bool>,
    target: Option<&'a [u8]>,
    store_distances: bool,
}

/// A place that was found.
struct Match {
    member: Vec<u8>,
    score: f64,
    place: Place,
    /// In metres.
    distance: f64,
}

/// A distance or size: not negative.
fn length(arg: &[u8], name: &str, negative: &'static str) -> Result<f64> {
    match parse_float(arg) {
        None => Err(CommandError::new(format!("ERR need numeric {name}"))),
        Some(length) if length < 0.0 => Err(CommandError::new(negative)),
        Some(length) => Ok(length),
    }
}

impl<'a> Wanted<'a> {
    fn circle(&mut self, radius: &[u8], of: &[u8]) -> CommandResult {
        let radius = length(radius, "radius", "ERR radius cannot be negative")?;
        self.metres = unit(of)?;
        self.extent = Some(Extent::Circle {
            radius: radius * self.metres,
        });
        Ok(())
    }

    fn rectangle(&mut self, width: &[u8], height: &[u8], of: &[u8]) -> CommandResult {
        let negative = "ERR height or width cannot be negative";
        let number = |arg: &[u8], name: &str| {
            parse_float(arg).ok_or_else(|| CommandError::new(format!("ERR need numeric {name}")))
        };
        let (width, height) = (number(width, "width")?, number(height, "height")?);
        if width < 0.0 || height < 0.0 {
            return Err(CommandError::new(negative));
        }
        self.metres = unit(of)?;
        self.extent = Some(Extent::Box {
            width: width * self.metres,
            height: height * self.metres,
        });
        Ok(())
    }

    /// Takes the first of `options`, and what belongs to it; the others.
    fn option<'o>(
        &mut self,
        call: &Call<'_, '_>,
        record: Option<&Record<'_>>,
        form: Form,
        options: &'o [&'a [u8]],
    ) -> Result<&'o [&'a [u8]]> {
        let searches = matches!(form, Form::Search | Form::SearchStore);
        let may_store = !searches && !call.found.command.name.ends_with("_ro");
        let from = self.middle.is_some();
        let Some((word, rest)) = options.split_first() else {
            return Ok(options);
        };
        Ok(match (&word.to_ascii_lowercase()[..], rest) {
            (b"withdist", rest) => {
                self.with_distance = true;
                rest
            }
            (b"withhash", rest) => {
                self.with_hash = true;
                rest
            }
            (b"withcoord", rest) => {
                self.with_place = true;
                rest
            }
            (b"any", rest) => {
                self.any = true;
                rest
            }
            (b"asc", rest) => {
                self.descending = Some(false);
                rest
            }
            (b"desc", rest) => {
                self.descending = Some(true);
                rest
            }
            (b"count", [count, rest @ ..]) => {
                let count = usize::try_from(integer(count)?).unwrap_or(0);
                if count == 0 {
                    return Err(CommandError::new("ERR COUNT must be > 0"));
                }
                self.count = Some(count);
                rest
            }
            (word @ (b"store" | b"storedist"), [target, rest @ ..]) if may_store => {
                self.target = Some(target);
                self.store_distances = word == b"storedist";
                rest
            }
            (b"storedist", rest) if form == Form::SearchStore => {
                self.store_distances = true;
                rest
            }
            (b"frommember", [member, rest @ ..]) if searches && !from => {
                self.middle = Some(match record {
                    Some(record) => member_place(call, record, member)?,
                    // There is nothing to be found.
                    None => NOWHERE,
                });
                rest
            }
            (b"fromlonlat", [longitude, latitude, rest @ ..]) if searches && !from => {
                self.middle = Some(place_of(longitude, latitude)?);
                rest
            }
            (b"byradius", [radius, unit, rest @ ..])
                if searches && !matches!(self.extent, Some(Extent::Box { .. })) =>
            {
                self.circle(radius, unit)?;
                rest
            }
            (b"bybox", [width, height, unit, rest @ ..])
                if searches && !matches!(self.extent, Some(Extent::Circle { .. })) =>
            {
                self.rectangle(width, height, unit)?;
                rest
            }
            _ => return Err(CommandError::syntax()),
        })
    }

    /// What of it does not go together.
    fn check(&self, form: Form, name: &str) -> CommandResult {
        let searches = matches!(form, Form::Search | Form::SearchStore);
        let refused = |why: String| Err(CommandError::new(format!("ERR {why}")));
        if self.target.is_some() && (self.with_distance || self.with_hash || self.with_place) {
            let what = match form {
                Form::SearchStore => "GEOSEARCHSTORE",
                _ => "STORE option in GEORADIUS",
            };
            return refused(format!(
                "{what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            ));
        }
        if searches && self.middle.is_none() {
            return refused(format!(
                "exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}"
            ));
        }
        if searches && self.extent.is_none() {
            return refused(format!(
                "exactly one of BYRADIUS and BYBOX can be specified for {name}"
            ));
        }
        if self.any && self.count.is_none() {
            return refused("the ANY argument requires COUNT argument".to_owned());
        }
        Ok(())
    }
}

const NOWHERE: Place = Place {
    longitude: 0.0,
    latitude: 0.0,
};

/// The place of a member that is to be there.
fn member_place(call: &Call<'_, '_>, record: &Record<'_>, member: &[u8]) -> Result<Place> {
    let score = call.keyspace.score(call.session.db, record, member)?;
    score
        .map(|score| Square::of_score(score).middle())
        .ok_or_else(|| CommandError::new("ERR could not decode requested zset member"))
}

fn wanted<'a>(
    call: &Call<'_, '_>,
    args: &'a [&'a [u8]],
    record: Option<&Record<'_>>,
    form: Form,
) -> Result<Wanted<'a>> {
    let mut wanted = Wanted::default();
    let mut options = match form {
        Form::Around => {
            wanted.middle = Some(place_of(args[2], args[3])?);
            wanted.circle(args[4], args[5])?;
            &args[6..]
        }
        Form::AroundMember => {
            if let Some(record) = record {
                wanted.middle = Some(member_place(call, record, args[2])?);
                wanted.circle(args[3], args[4])?;
            }
            &args[5..]
        }
        Form::Search => &args[2..],
        Form::SearchStore => {
            wanted.target = Some(args[1]);
            &args[3..]
        }
    };
    while !options.is_empty() {
        options = wanted.option(call, record, form, options)?;
    }
    wanted.check(form, &text(args[0]))?;
    Ok(wanted)
}

/// The places of a sorted set that lie within.
fn matches(
    call: &Call<'_, '_>,
    record: &Record<'_>,
    shape: &Shape,
    limit: Option<usize>,
) -> Result<Vec<Match>> {
    let mut found: Vec<Match> = Vec::new();
    let limit = limit.unwrap_or(usize::MAX);
    for square in shape.squares() {
        let (from, to) = square.scores();
        let walk = Walk {
            order: Order::by_score((from, false), (to, true)),
            reverse: false,
            skip: 0,
            limit: u64::MAX,
        };
        call.keyspace.walk(call.session.db, record, &walk, |scored| {
            let place = Square::of_score(scored.score).middle();
            let distance = (found.len() < limit)
                .then(|| shape.distance_within(place))
                .flatten();
            found.extend(distance.map(|distance| Match {
                member: scored.member.to_vec(),
                score: scored.score,
                place,
                distance,
            }));
        })?;
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

fn search(call: &mut Call<'_, '_>, form: Form) -> CommandResult {
    let args = call.args;
    let source = if form == Form::SearchStore {
        args[2]
    } else {
        args[1]
    };
    let (wanted, mut found) = {
        let call = &*call;
        let record = call.keyspace.find_kind(call.session.db, source, Kind::ZSet)?;
        let wanted = wanted(call, args, record.as_ref(), form)?;
        let found = match (record, wanted.middle, wanted.extent) {
            (Some(record), Some(middle), Some(extent)) => {
                let shape = Shape { middle, extent };
                matches(call, &record, &shape, wanted.count.filter(|_| wanted.any))?
            }
            _ => Vec::new(),
        };
        (wanted, found)
    };
    // The first few of no order would not be the nearest.
    let nearest = (wanted.count.is_some() && !wanted.any).then_some(false);
    if let Some(descending) = wanted.descending.or(nearest) {
        found.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        if descending {
            found.reverse();
        }
    }
    found.truncate(wanted.count.unwrap_or(usize::MAX));
    match wanted.target {
        Some(target) => store(call, target, &wanted, found, form),
        None => {
            show(call, &wanted, &found);
            Ok(())
        }
    }
}

fn store(
    call: &mut Call<'_, '_>,
    target: &[u8],
    wanted: &Wanted<'_>,
    found: Vec<Match>,
    form: Form,
) -> CommandResult {
    let score = |found: &Match| match wanted.store_distances {
        true => found.distance / wanted.metres,
        false => found.score,
    };
    let members: Vec<(Vec<u8>, f64)> = found
        .into_iter()
        .map(|found| (score(&found), found.member))
        .map(|(score, member)| (member, score))
        .collect();
    let event = match form {
        Form::SearchStore => "geosearchstore",
        _ => "georadiusstore",
    };
    store_scored(call, target, &members, event)
}

fn show(call: &mut Call<'_, '_>, wanted: &Wanted<'_>, found: &[Match]) {
    let parts = [wanted.with_distance, wanted.with_hash, wanted.with_place];
    let parts = parts.iter().filter(|wanted| **wanted).count();
    call.reply.array(found.len());
    for found in found {
        if parts > 0 {
            call.reply.array(1 + parts);
        }
        call.reply.bulk(&found.member);
        if wanted.with_distance {
            call.reply.bulk(fixed(found.distance / wanted.metres).as_bytes());
        }
        if wanted.with_hash {
            call.reply.integer(found.score as i64);
        }
        if wanted.with_place {
            reply_place(call, found.place);
        }
    }
}

pub(super) fn georadius(call: &mut Call<'_, '_>) -> CommandResult {
    search(call, Form::Around)
}

pub(super) fn georadiusbymember(call: &mut Call<'_, '_>) -> CommandResult {
    search(call, Form::AroundMember)
}

pub(super) fn geosearch(call: &mut Call<'_, '_>) -> CommandResult {
    search(call, Form::Search)
}

pub(super) fn geosearchstore(call: &mut Call<'_, '_>) -> CommandResult {
    search(call, Form::SearchStore)
}
