//! Look-ups beside one who moves a line to the next table, writes there, and frees what he has replaced; and beside one who uses memory again at once.

use loom::sync::Arc;
use loom::thread;

use super::check;
use crate::protocol::epoch;
use crate::protocol::header::{self, Header, Owner, State};
use crate::protocol::line::{self, Guard};
use crate::protocol::lookup::{self, Found, Which};
use crate::sync::mortal::live;
use crate::sync::{AtomicU64, Ordering, fence};

/// A key, and a table of one line that grows. The key's entry is at 16, and at 32 when it has been replaced.
struct Growth {
    era: AtomicU64,
    pin: AtomicU64,
    /// 1 for the table that there was at first, 2 for the larger one.
    current: AtomicU64,
    next: AtomicU64,
    guards: [AtomicU64; 2],
    slots: [AtomicU64; 2],
    /// Whether the memory of the first entry was used again.
    freed: AtomicU64,
}

impl Growth {
    fn new() -> Growth {
        let word = |value| AtomicU64::new(value);
        Growth {
            era: word(1),
            pin: word(0),
            current: word(1),
            next: word(2),
            guards: [word(Guard::FIRST.0), word(0)],
            slots: [word(16), word(0)],
            freed: word(0),
        }
    }

    fn write(&self) {
        while !line::close(&self.guards[0]) {}
        line::fill(&self.slots[1], line::freeze(&self.slots[0]));
        line::open(&self.guards[1]);
        line::mark_moved(&self.guards[0]);
        let replaced = self.slots[1].compare_exchange(16, 32, Ordering::AcqRel, Ordering::Acquire);
        assert!(replaced.is_ok());
        epoch::after_unlinking();
        let retired = self.era.load(Ordering::SeqCst);
        for _ in 0..2 {
            let now = self.era.load(Ordering::Acquire);
            fence(Ordering::SeqCst);
            if epoch::may_advance(now, [(0, &self.pin)].into_iter()).is_ok() {
                epoch::advance(&self.era, now);
            }
        }
        if epoch::is_over(retired, self.era.load(Ordering::Acquire)) {
            self.freed.store(1, Ordering::Release);
        }
        // Other lines have been moved as well.
        let _ = self
            .current
            .compare_exchange(1, 2, Ordering::AcqRel, Ordering::Acquire);
        let _ = self
            .next
            .compare_exchange(2, 0, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The place of the key's entry, which is looked at where it stands.
    fn find(&self, is_guarded: bool) -> u64 {
        let table = |which| {
            let word = match which {
                Which::Current => &self.current,
                Which::Next => &self.next,
            };
            let table = word.load(Ordering::Acquire);
            Ok::<_, ()>((table != 0).then_some(table))
        };
        let look = |table: u64| {
            let at = table as usize - 1;
            let read = || self.slots[at].load(Ordering::Acquire) & !line::FROZEN;
            let seen = if is_guarded {
                lookup::in_line(&self.guards[at], read)
            } else {
                Some(read())
            };
            if seen == Some(16) {
                assert_eq!(
                    self.freed.load(Ordering::Acquire),
                    0,
                    "freed while it was being read"
                );
            }
            Ok(seen)
        };
        match lookup::in_tables(table, look) {
            Ok(Found::Is(place)) => place,
            other => panic!("a key that was there all the time was not found: {other:?}"),
        }
    }
}

fn look_up_while_a_table_grows(is_guarded: bool) {
    check(2, 22, move |steps| {
        let growth = Arc::new(Growth::new());
        let mortal = {
            let growth = Arc::clone(&growth);
            thread::spawn(move || live(steps, || growth.write()))
        };
        epoch::pin(&growth.pin, growth.era.load(Ordering::Acquire));
        let first = growth.find(is_guarded);
        let second = growth.find(is_guarded);
        epoch::unpin(&growth.pin);
        assert!(matches!(first, 16 | 32) && second >= first, "older after younger");
        mortal.join().unwrap();
    });
}

#[test]
fn a_key_is_found_while_its_line_moves_and_nothing_freed_is_looked_at() {
    look_up_while_a_table_grows(true);
}

#[test]
#[should_panic(expected = "freed while it was being read")]
fn a_look_up_that_forgets_the_guard_is_found_to_be_wrong() {
    look_up_while_a_table_grows(false);
}

/// Two objects that entries are made in, each a header, a length and two words, and the slot of their key, which says which of them it has.
struct Reuse {
    slot: AtomicU64,
    objects: [[AtomicU64; 4]; 2],
}

impl Reuse {
    fn new() -> Reuse {
        let word = |value| AtomicU64::new(value);
        let header = |state| Header::new(state, 1, 0, Owner::NOBODY, 0).0;
        Reuse {
            slot: word(0),
            objects: [
                [word(header(State::Live)), word(1), word(7), word(0)],
                [word(header(State::Free)), word(0), word(0), word(0)],
            ],
        }
    }

    fn step(&self, at: usize, state: State) {
        let header = &self.objects[at][0];
        let seen = Header::load(header);
        assert!(seen.step(header, state, Owner(1)).is_some());
    }

    /// Makes an entry of `len` words that all say `value` in an object, and puts it in place of the other, whose memory is free at once.
    fn replace(&self, at: usize, len: u64, value: u64, fences: bool) {
        self.step(at, State::Held);
        self.step(at, State::Owned);
        if fences {
            header::before_writing();
        }
        self.objects[at][1].store(len, Ordering::Relaxed);
        for word in &self.objects[at][2..2 + len as usize] {
            word.store(value, Ordering::Relaxed);
        }
        let linked =
            self.slot
                .compare_exchange(1 - at as u64, at as u64, Ordering::AcqRel, Ordering::Acquire);
        assert!(linked.is_ok());
        self.step(at, State::Live);
        self.step(1 - at, State::Retired);
        self.step(1 - at, State::Free);
    }

    /// What a reader that can't pin makes of it, in the order in which he looks: slot, length, header, and what it says.
    fn read(&self, care: Care) -> Option<Vec<u64>> {
        let find = || {
            let at = self.slot.load(Ordering::Acquire);
            let [header, len, ..] = &self.objects[at as usize];
            let len = len.load(Ordering::Relaxed);
            let header = Header::load(header);
            if !matches!(header.state(), State::Live | State::Owned) {
                return Err(());
            }
            let declared = header.state() == State::Live || !care.doubts;
            let header = if care.compares_headers { header.0 } else { 0 };
            let compared = if care.compares_lengths { len } else { 0 };
            Ok(Seen(at, header, compared, len, declared))
        };
        let read = |seen: &Seen| {
            let words = &self.objects[seen.0 as usize][2..];
            let words = words.iter().take(seen.3 as usize);
            words.map(|word| word.load(Ordering::Relaxed)).collect()
        };
        lookup::twice(find, |seen| seen.4, read).ok().flatten()
    }
}

/// Which entry, its header and its length as far as they are compared, the length, and whether it is declared.
struct Seen(u64, u64, u64, u64, bool);

impl PartialEq for Seen {
    fn eq(&self, other: &Seen) -> bool {
        (self.0, self.1, self.2) == (other.0, other.1, other.2)
    }
}

/// What of it is done as it should be.
#[derive(Clone, Copy)]
struct Care {
    compares_headers: bool,
    compares_lengths: bool,
    doubts: bool,
    fences: bool,
}

const CAREFUL: Care = Care {
    compares_headers: true,
    compares_lengths: true,
    doubts: true,
    fences: true,
};

fn read_while_memory_is_used_again(care: Care) {
    check(3, 0, move |_| {
        let reuse = Arc::new(Reuse::new());
        let writer = {
            let reuse = Arc::clone(&reuse);
            thread::spawn(move || {
                reuse.replace(1, 1, 8, care.fences);
                reuse.replace(0, 2, 9, care.fences);
            })
        };
        if let Some(value) = reuse.read(care) {
            let is_whole = [&[7][..], &[8], &[9, 9]].contains(&&value[..]);
            assert!(is_whole, "torn: {value:?}");
        }
        writer.join().unwrap();
        assert_eq!(reuse.read(CAREFUL), Some(vec![9, 9]), "in peace it reads at once");
    });
}

#[test]
fn one_who_cannot_pin_reads_whole_values() {
    read_while_memory_is_used_again(CAREFUL);
}

#[test]
#[should_panic(expected = "torn")]
fn comparing_places_alone_is_found_to_be_wrong() {
    read_while_memory_is_used_again(Care {
        compares_headers: false,
        ..CAREFUL
    });
}

#[test]
#[should_panic(expected = "torn")]
fn trusting_a_length_from_before_the_header_is_found_to_be_wrong() {
    read_while_memory_is_used_again(Care {
        compares_lengths: false,
        ..CAREFUL
    });
}

#[test]
#[should_panic(expected = "torn")]
fn writing_before_the_header_is_seen_to_change_is_found_to_be_wrong() {
    read_while_memory_is_used_again(Care {
        fences: false,
        ..CAREFUL
    });
}

#[test]
#[should_panic(expected = "torn")]
fn reading_what_may_be_found_again_before_it_is_whole_is_found_to_be_wrong() {
    read_while_memory_is_used_again(Care {
        doubts: false,
        ..CAREFUL
    });
}
