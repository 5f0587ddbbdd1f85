//! Places as numbers of 52 bits: those of places near each other mostly begin alike.
//!
//! Each coordinate is cut in halves 26 times. Which half it lies in is a bit, and the bits of longitude and latitude take turns, longitude first. A score of a sorted set holds
//! such a number exactly, and a square of the map is a range of scores.

/// The most halvings.
pub(super) const STEPS_MAX: u32 = 26;

/// As mean radius of the earth, in metres.
const EARTH_RADIUS: f64 = 6_372_797.560_856;

/// A place, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) longitude: f64,
    pub(super) latitude: f64,
}

/// From where to where coordinates go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    longitude: f64,
    latitude: f64,
}

impl Bounds {
    /// Those of maps in Mercator's projection, which leave the poles out.
    pub(super) const MAP: Bounds = Bounds {
        longitude: 180.0,
        latitude: 85.051_128_78,
    };
    /// The whole earth, as the geohashes that are written in letters have it.
    pub(super) const EARTH: Bounds = Bounds {
        longitude: 180.0,
        latitude: 90.0,
    };

    pub(super) fn has(self, place: Place) -> bool {
        place.longitude.abs() <= self.longitude && place.latitude.abs() <= self.latitude
    }
}

/// A square of the map: so many halvings, and the bits that they give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Square {
    pub(super) bits: u64,
    pub(super) steps: u32,
}

/// Where a square lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) min: Place,
    pub(super) max: Place,
}

/// Puts bits where every second one is free.
fn spread(bits: u32) -> u64 {
    let mut x = u64::from(bits);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        x = (x | x << shift) & mask;
    }
    x
}

/// Takes every second bit.
fn gather(bits: u64) -> u32 {
    let mut x = bits & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        x = (x | x >> shift) & mask;
    }
    x as u32
}

impl Square {
    /// The square that a place lies in, which the bounds have.
    pub(super) fn of(place: Place, bounds: Bounds, steps: u32) -> Square {
        let cell = |at: f64, bound: f64| ((at + bound) / (2.0 * bound) * f64::from(1 << steps)) as u32;
        let latitude = cell(place.latitude, bounds.latitude);
        let longitude = cell(place.longitude, bounds.longitude);
        Square {
            bits: spread(latitude) | spread(longitude) << 1,
            steps,
        }
    }

    /// That of a score.
    pub(super) fn of_score(score: f64) -> Square {
        Square {
            bits: score as u64,
            steps: STEPS_MAX,
        }
    }

    /// Its row and column.
    fn cell(self) -> (u32, u32) {
        (gather(self.bits), gather(self.bits >> 1))
    }

    /// The one so many rows to the north and columns to the east. The map has no end: after the last comes the first.
    pub(super) fn beside(self, north: i32, east: i32) -> Square {
        let (row, column) = self.cell();
        let mask = (1 << self.steps) - 1;
        let row = row.wrapping_add_signed(north) & mask;
        let column = column.wrapping_add_signed(east) & mask;
        Square {
            bits: spread(row) | spread(column) << 1,
            ..self
        }
    }

    pub(super) fn area(self) -> Area {
        let (row, column) = self.cell();
        let at = |cell: f64, bound: f64| -bound + cell / f64::from(1 << self.steps) * (2.0 * bound);
        let place = |more: f64| Place {
            longitude: at(f64::from(column) + more, Bounds::MAP.longitude),
            latitude: at(f64::from(row) + more, Bounds::MAP.latitude),
        };
        Area {
            min: place(0.0),
            max: place(1.0),
        }
    }

    /// The place in its middle.
    pub(super) fn middle(self) -> Place {
        let Area { min, max } = self.area();
        let between = |a: f64, b: f64, bound: f64| ((a + b) / 2.0).clamp(-bound, bound);
        Place {
            longitude: between(min.longitude, max.longitude, Bounds::MAP.longitude),
            latitude: between(min.latitude, max.latitude, Bounds::MAP.latitude),
        }
    }

    /// The scores of all places in it: from the first up to but without the second.
    pub(super) fn scores(self) -> (f64, f64) {
        let shift = 2 * (STEPS_MAX - self.steps);
        ((self.bits << shift) as f64, ((self.bits + 1) << shift) as f64)
    }
}

/// The score of a place.
pub(super) fn score(place: Place) -> u64 {
    Square::of(place, Bounds::MAP, STEPS_MAX).bits
}

/// The place as letters, as other programs know it. They stand for 55 bits, of which there are 52: the last is always the same.
pub(super) fn letters(place: Place) -> [u8; 11] {
    const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    let bits = Square::of(place, Bounds::EARTH, STEPS_MAX).bits;
    let mut letters = [ALPHABET[0]; 11];
    for (at, letter) in letters.iter_mut().take(10).enumerate() {
        *letter = ALPHABET[(bits >> (47 - 5 * at)) as usize & 31];
    }
    letters
}

/// How far it is from one latitude to another, in metres.
pub(super) fn north_south(a: f64, b: f64) -> f64 {
    EARTH_RADIUS * (b.to_radians() - a.to_radians()).abs()
}

/// How far it is from one place to another along a great circle, in metres.
pub(super) fn distance(a: Place, b: Place) -> f64 {
    let v = ((b.longitude.to_radians() - a.longitude.to_radians()) / 2.0).sin();
    if v == 0.0 {
        return north_south(a.latitude, b.latitude);
    }
    let (from, to) = (a.latitude.to_radians(), b.latitude.to_radians());
    let u = ((to - from) / 2.0).sin();
    2.0 * EARTH_RADIUS * (u * u + from.cos() * to.cos() * v * v).sqrt().asin()
}

/// So many metres to the north, in degrees.
pub(super) fn degrees_north(metres: f64) -> f64 {
    (metres / EARTH_RADIUS).to_degrees()
}

/// So many metres to the east, in degrees, on a latitude.
pub(super) fn degrees_east(metres: f64, latitude: f64) -> f64 {
    (metres / EARTH_RADIUS / latitude.to_radians().cos()).to_degrees()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_in_the_square_that_its_score_means() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..10_000 {
            let place = Place {
                longitude: random.f64() * 360.0 - 180.0,
                latitude: random.f64() * 170.0 - 85.0,
            };
            let square = Square::of_score(score(place) as f64);
            let Area { min, max } = square.area();
            assert!(
                min.longitude <= place.longitude && place.longitude < max.longitude,
                "{place:?}"
            );
            assert!(
                min.latitude <= place.latitude && place.latitude < max.latitude,
                "{place:?}"
            );
            assert!(distance(place, square.middle()) < 0.5, "{place:?}");
            let wide = Square::of(place, Bounds::MAP, random.u32(1..=STEPS_MAX));
            let (from, to) = wide.scores();
            assert!((from..to).contains(&(score(place) as f64)), "{place:?}");
        }
    }

    #[test]
    fn beside_a_square_are_its_neighbours() {
        let place = Place {
            longitude: 0.1,
            latitude: 0.1,
        };
        let square = Square::of(place, Bounds::MAP, 10);
        assert_eq!(
            square.beside(0, 1).area().min.longitude,
            square.area().max.longitude
        );
        assert_eq!(
            square.beside(-1, 0).area().max.latitude,
            square.area().min.latitude
        );
        assert_eq!(square.beside(3, -5).beside(-3, 5), square);
        let edge = Square { bits: 0, steps: 3 };
        assert_eq!(edge.beside(-1, -1).bits, 63, "around the map");
    }

    #[test]
    fn the_poles_and_the_date_line_have_scores() {
        for (longitude, latitude) in [(180.0, 85.051_128_78), (-180.0, -85.051_128_78)] {
            let place = Place { longitude, latitude };
            assert!(Bounds::MAP.has(place));
            assert!(distance(Square::of_score(score(place) as f64).middle(), place) < 1.0);
        }
        for score in [-1.0, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            let place = Square::of_score(score).middle();
            assert!(Bounds::MAP.has(place), "{score} is no place, but does no harm");
        }
    }
}
