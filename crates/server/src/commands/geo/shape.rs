//! What is searched: circles and boxes on the earth, and the squares of the map that cover them.

use super::hash::{
    Area, Bounds, Place, STEPS_MAX, Square, degrees_east, degrees_north, distance, north_south,
};

/// Half of the earth's girth on the map, in metres: squares without halvings are that large on each side of the middle.
const MAP_RADIUS: f64 = 20_037_726.37;

/// How far a search goes, in metres.
#[derive(Clone, Copy, Debug)]
pub(super) enum Extent {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
}

/// What is searched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) middle: Place,
    pub(super) extent: Extent,
}

impl Shape {
    /// How far a place is from the middle, in metres, if it is within.
    pub(super) fn distance_within(&self, place: Place) -> Option<f64> {
        match self.extent {
            Extent::Circle { radius } => Some(distance(self.middle, place)).filter(|far| *far <= radius),
            Extent::Box { width, height } => {
                let abeam = Place {
                    longitude: self.middle.longitude,
                    ..place
                };
                let within = north_south(place.latitude, self.middle.latitude) <= height / 2.0
                    && distance(place, abeam) <= width / 2.0;
                within.then(|| distance(self.middle, place))
            }
        }
    }

    /// How far it goes to each side, and to a corner.
    fn reach(&self) -> (f64, f64, f64) {
        match self.extent {
            Extent::Circle { radius } => (radius, radius, radius),
            Extent::Box { width, height } => {
                let (width, height) = (width / 2.0, height / 2.0);
                (width, height, width.hypot(height))
            }
        }
    }

    /// Coordinates that all of it lies between, roughly where it comes near a pole.
    fn bounds(&self) -> Area {
        let (width, height, _) = self.reach();
        let Place { longitude, latitude } = self.middle;
        let north = degrees_north(height);
        // It is widest in degrees where it comes nearest to a pole.
        let widest = if latitude < 0.0 {
            latitude - north
        } else {
            latitude + north
        };
        let east = degrees_east(width, widest);
        let place = |east: f64, north: f64| Place {
            longitude: longitude + east,
            latitude: latitude + north,
        };
        Area {
            min: place(-east, -north),
            max: place(east, north),
        }
    }

    /// The squares that cover it, each once: the one with its middle first, and those of the eight around it that it reaches.
    pub(super) fn squares(&self) -> Vec<Square> {
        let bounds = self.bounds();
        let mut steps = self.steps();
        let mut middle = Square::of(self.middle, Bounds::MAP, steps);
        let reaches_further = middle.beside(1, 0).area().max.latitude < bounds.max.latitude
            || middle.beside(-1, 0).area().min.latitude > bounds.min.latitude
            || middle.beside(0, 1).area().max.longitude < bounds.max.longitude
            || middle.beside(0, -1).area().min.longitude > bounds.min.longitude;
        if steps > 1 && reaches_further {
            steps -= 1;
            middle = Square::of(self.middle, Bounds::MAP, steps);
        }
        let mut squares = vec![middle];
        let area = middle.area();
        for (north, east) in [
            (1, 0),
            (-1, 0),
            (0, 1),
            (0, -1),
            (1, 1),
            (1, -1),
            (-1, 1),
            (-1, -1),
        ] {
            let needless = north < 0 && area.min.latitude < bounds.min.latitude
                || north > 0 && area.max.latitude > bounds.max.latitude
                || east < 0 && area.min.longitude < bounds.min.longitude
                || east > 0 && area.max.longitude > bounds.max.longitude;
            let square = middle.beside(north, east);
            // Of a few large squares one may lie on both sides.
            if !(steps > 1 && needless || squares.contains(&square)) {
                squares.push(square);
            }
        }
        squares
    }

    /// How many halvings leave squares that are large enough.
    fn steps(&self) -> u32 {
        let (_, _, mut reach) = self.reach();
        if reach == 0.0 {
            return STEPS_MAX;
        }
        let mut steps = 1_i32;
        while reach < MAP_RADIUS && steps < 64 {
            reach *= 2.0;
            steps += 1;
        }
        // One more on each side, and more where degrees of longitude are short.
        let latitude = self.middle.latitude.abs();
        steps -= 2 + i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        steps.clamp(1, STEPS_MAX as i32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::geo::hash;

    #[test]
    fn the_squares_cover_what_is_within() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..300 {
            let middle = Place {
                longitude: random.f64() * 359.0 - 179.5,
                latitude: random.f64() * 160.0 - 80.0,
            };
            let size = 10_f64.powf(random.f64() * 6.0);
            let extent = if random.bool() {
                Extent::Circle { radius: size }
            } else {
                Extent::Box {
                    width: size,
                    height: size * random.f64(),
                }
            };
            let shape = Shape { middle, extent };
            let squares = shape.squares();
            let (north, east) = (degrees_north(size), degrees_east(size, middle.latitude).abs());
            for _ in 0..200 {
                let place = Place {
                    longitude: middle.longitude + east * (random.f64() * 2.0 - 1.0),
                    latitude: middle.latitude + north * (random.f64() * 2.0 - 1.0),
                };
                if !Bounds::MAP.has(place) || shape.distance_within(place).is_none() {
                    continue;
                }
                let score = hash::score(place) as f64;
                let covered = squares.iter().filter(|square| {
                    let (from, to) = square.scores();
                    (from..to).contains(&score)
                });
                assert_eq!(covered.count(), 1, "{shape:?} {place:?}");
            }
        }
    }

    #[test]
    fn large_and_small_searches_end() {
        let middle = Place {
            longitude: 0.0,
            latitude: 89.0_f64.min(85.0),
        };
        for radius in [0.0, f64::MIN_POSITIVE, 1e-300, 1e9, f64::MAX, f64::INFINITY] {
            let shape = Shape {
                middle,
                extent: Extent::Circle { radius },
            };
            let squares = shape.squares();
            assert!((1..=9).contains(&squares.len()), "{radius}");
        }
    }
}
