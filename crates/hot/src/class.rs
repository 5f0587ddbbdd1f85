//! Size classes, and how superblocks of them nest.
//!
//! A class is a footprint: header and payload of its objects. Up to 64 objects of a class lie in a superblock, which is itself an object
//! of a larger class, its *parent*, or a whole volume. The ladder rises by 16 bytes up to 256, then by an eighth or less, so an
//! object wastes at most that; the parent is chosen so that the superblock fills it best. Everything follows from the volume size alone: every
//! process computes it for itself and believes nobody.

/// Bytes in front of every payload: the header word, then size and tag.
pub(crate) const HEADER_LEN: u64 = 16;
/// Bytes in front of the first object of a superblock, the superblock's own header among them.
pub(crate) const SUPERBLOCK_LEN: u64 = 64;
/// Bytes at the start of a volume that is cut into objects.
pub(crate) const VOLUME_PREFIX: u64 = 64;
/// The class of the superblock that spans a volume.
pub(crate) const VOLUME_CLASS: u8 = 255;

/// Footprints from which superblocks may be made: their places are multiples of 64.
const PARENT_MIN: u64 = 1024;
/// Payloads up to this find their class by one table look-up.
const SMALL_MAX: u64 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    Class(u8),
    Volume,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    pub(crate) footprint: u64,
    /// Objects in a superblock.
    pub(crate) count: u32,
    pub(crate) parent: Parent,
    /// How many free objects a session keeps to itself.
    pub(crate) magazine: usize,
}

impl Class {
    /// The bitmap in which all objects are free.
    pub(crate) fn all_free(&self) -> u64 {
        u64::MAX >> (64 - self.count)
    }
}

#[derive(Debug)]
pub(crate) struct Classes {
    list: Vec<Class>,
    small: Vec<u8>,
}

impl Classes {
    pub(crate) fn new(volume_size: u64) -> Classes {
        let largest = volume_size - VOLUME_PREFIX - SUPERBLOCK_LEN;
        let footprints = ladder(largest);
        let parents = parents(&footprints, largest);
        let place = |&footprint| place(footprint, &footprints, &parents, largest);
        let list: Vec<Class> = footprints.iter().map(place).collect();
        let mut classes = Classes {
            list,
            small: Vec::new(),
        };
        let small_max = SMALL_MAX.min(classes.largest_payload());
        classes.small = (0..=small_max / 16)
            .map(|sixteens| classes.search(sixteens * 16).expect("within the largest payload"))
            .collect();
        classes
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Class> {
        self.list.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The class of that number, if there is one.
    #[inline]
    pub(crate) fn class(&self, number: u8) -> Option<&Class> {
        self.list.get(usize::from(number))
    }

    /// The same for those that one look finds.
    #[inline(always)]
    pub(crate) fn for_small_payload(&self, payload: u64) -> Option<u8> {
        self.small.get((payload.checked_add(15)? / 16) as usize).copied()
    }

    /// The smallest class whose objects hold `payload` bytes.
    #[inline]
    pub(crate) fn for_payload(&self, payload: u64) -> Option<u8> {
        self.for_small_payload(payload).or_else(|| self.search(payload))
    }

    pub(crate) fn largest_payload(&self) -> u64 {
        self.list.last().map_or(0, |class| class.footprint - HEADER_LEN)
    }

    fn search(&self, payload: u64) -> Option<u8> {
        let at = self
            .list
            .partition_point(|class| class.footprint - HEADER_LEN < payload);
        (at < self.list.len()).then_some(at as u8)
    }
}

fn ladder(largest: u64) -> Vec<u64> {
    let mut footprints = Vec::new();
    let mut footprint = 32;
    while footprint < largest {
        footprints.push(footprint);
        let power = 1u64 << footprint.ilog2();
        footprint += match power {
            0..256 => 16,
            256..65536 => power / 8,
            _ => power / 4,
        };
    }
    footprints.push(largest & !15);
    footprints
}

/// The footprints from which superblocks are made. Few, so that a small region doesn't spend a volume on each: some that divide a volume
/// well, some that divide the smallest of these well, and so on.
fn parents(footprints: &[u64], largest: u64) -> Vec<u8> {
    let mut chosen = Vec::new();
    let mut room = largest;
    let mut counts: &[u64] = &[9];
    loop {
        let fitting = counts.iter().filter_map(|&count| {
            let fits = |&f: &u64| f % 64 == 0 && f >= PARENT_MIN && (room - SUPERBLOCK_LEN) / f >= count;
            footprints.iter().rposition(fits)
        });
        let fitting: Vec<usize> = fitting.collect();
        let Some(&smallest) = fitting.last() else {
            return chosen;
        };
        chosen.extend(fitting.iter().map(|&number| number as u8));
        room = footprints[smallest];
        counts = &[5, 10, 22, 50];
    }
}

fn place(footprint: u64, footprints: &[u64], parents: &[u8], largest: u64) -> Class {
    // Of small ones as many as a session retires before it looks which of them are free, so that replacing values costs no way to the superblocks.
    let magazine = (65536 / footprint).clamp(1, 64).max((32768 / footprint).min(256)) as usize;
    let best = parents
        .iter()
        .map(|&parent| (parent, footprints[usize::from(parent)]))
        .map(|(parent, room)| (parent, ((room - SUPERBLOCK_LEN) / footprint).min(64), room))
        // Few objects in a superblock mean many superblocks to look after.
        .filter(|&(_, count, _)| count >= 4)
        .max_by_key(|&(_, count, room)| (count * footprint * 1000 / room, count));
    match best {
        Some((parent, count, _)) => Class {
            footprint,
            count: count as u32,
            parent: Parent::Class(parent),
            magazine,
        },
        None => {
            let count = (largest / footprint).clamp(1, 64) as u32;
            Class {
                footprint,
                count,
                parent: Parent::Volume,
                magazine,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(volume_size: u64) {
        let classes = Classes::new(volume_size);
        assert!(
            classes.len() <= usize::from(VOLUME_CLASS),
            "{} classes",
            classes.len()
        );
        for number in 0..classes.len() as u8 {
            let class = classes.class(number).unwrap();
            let mut room = volume_size - VOLUME_PREFIX;
            if let Parent::Class(parent) = class.parent {
                assert!(parent > number, "parents are larger, so the hierarchy ends");
                room = classes.class(parent).unwrap().footprint;
            }
            assert!((1..=64).contains(&class.count));
            assert!(
                SUPERBLOCK_LEN + u64::from(class.count) * class.footprint <= room,
                "{number}"
            );
        }
        for payload in (0..10_000).chain([classes.largest_payload()]) {
            if let Some(number) = classes.for_payload(payload) {
                assert!(classes.class(number).unwrap().footprint - HEADER_LEN >= payload);
                assert!(number == 0 || classes.class(number - 1).unwrap().footprint - HEADER_LEN < payload);
            } else {
                assert!(payload > classes.largest_payload());
            }
        }
    }

    #[test]
    fn superblocks_fit_into_their_parents_for_every_volume_size() {
        for shift in 16..=34 {
            check(1 << shift);
        }
    }

    /// Bytes of a full volume for each object of a class.
    fn bytes_per_object(classes: &Classes, number: u8, volume_size: u64) -> f64 {
        let class = classes.class(number).unwrap();
        let superblock = match class.parent {
            Parent::Class(parent) => bytes_per_object(classes, parent, volume_size),
            Parent::Volume => volume_size as f64,
        };
        superblock / f64::from(class.count)
    }

    #[test]
    fn an_object_of_64_bytes_costs_at_most_96_all_counted() {
        let classes = Classes::new(1 << 20);
        let cost = bytes_per_object(&classes, classes.for_payload(64).unwrap(), 1 << 20);
        assert!(cost <= 96.0, "{cost}");
    }
}
