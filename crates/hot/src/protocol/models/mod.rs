//! The protocols under loom, in every interleaving of a few threads, with one of them vanishing at every step or living through.
//! A stalled process is one that loom lets run late.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p weald-hot --lib`

mod lookup;
mod watch;

use loom::sync::Arc;
use loom::thread;

use crate::protocol::header::{self, Header, Owner, State};
use crate::protocol::line::{self, EMPTY, Guard, Intent, LineState};
use crate::protocol::{dating, epoch, stack};
use crate::sync::mortal::live;
use crate::sync::{AtomicU64, Ordering, fence};

/// More steps than any life below has.
const FOR_EVER: u32 = 1000;

fn check(preemptions: usize, deaths: u32, model: impl Fn(u32) + Clone + Send + Sync + 'static) {
    for steps in (0..deaths).chain([FOR_EVER]) {
        let model = model.clone();
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.check(move || model(steps));
    }
}

/// A line of two slots, and two sessions' intents.
struct Line {
    guard: AtomicU64,
    slots: [AtomicU64; 2],
    intents: [[AtomicU64; 4]; 2],
}

impl Line {
    fn new() -> Line {
        let word = |value| AtomicU64::new(value);
        Line {
            guard: word(Guard::FIRST.0),
            slots: [word(EMPTY), word(EMPTY)],
            intents: [(); 2].map(|()| [(); 4].map(|()| word(0))),
        }
    }

    fn intent(&self, owner: Owner) -> Intent<'_> {
        let words = &self.intents[usize::from(owner.0) - 1];
        Intent {
            guard: &words[0],
            place: &words[1],
            expected: &words[2],
            new: &words[3],
        }
    }

    fn assist(&self, pending: Guard) {
        line::assist(&self.guard, pending, self.intent(pending.owner()), |place| {
            Ok::<_, ()>(&self.slots[place as usize])
        })
        .unwrap();
    }

    /// Inserts a slot for key 16 unless there is one. The slot says who made it.
    fn insert(&self, me: Owner) -> bool {
        for _ in 0..4 {
            let seen = Guard::load(&self.guard);
            if seen.state() == LineState::Pending {
                self.assist(seen);
                continue;
            }
            let slots: Vec<u64> = self
                .slots
                .iter()
                .map(|slot| slot.load(Ordering::Acquire))
                .collect();
            if slots.iter().any(|slot| slot & EMPTY == 0) {
                return false;
            }
            let Some(at) = slots.iter().position(|slot| slot & EMPTY != 0) else {
                return false;
            };
            let new = 16 | u64::from(me.0) << 8;
            let decided = line::decide(&self.guard, seen, me, self.intent(me), at as u64, slots[at], new);
            if let Some(pending) = decided {
                line::finish(&self.guard, pending, &self.slots[at], slots[at], new);
                return true;
            }
        }
        false
    }

    fn remove(&self, number: u64) -> bool {
        self.slots.iter().any(|slot| {
            let seen = slot.load(Ordering::Acquire);
            seen & EMPTY == 0
                && slot
                    .compare_exchange(seen, number << 4 | EMPTY, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok()
        })
    }

    fn count(&self) -> usize {
        let seen = Guard::load(&self.guard);
        if seen.state() == LineState::Pending {
            self.assist(seen);
        }
        assert_eq!(
            Guard::load(&self.guard).state(),
            LineState::Idle,
            "anybody can finish an insertion"
        );
        self.slots
            .iter()
            .filter(|slot| slot.load(Ordering::Acquire) & EMPTY == 0)
            .count()
    }
}

#[test]
fn a_key_is_inserted_once_whoever_vanishes() {
    check(3, 14, |steps| {
        let line = Arc::new(Line::new());
        let mortal = {
            let line = Arc::clone(&line);
            thread::spawn(move || live(steps, || line.insert(Owner(1))))
        };
        let inserted = line.insert(Owner(2));
        let other = mortal.join().unwrap();
        let count = line.count();
        assert!(count <= 1);
        if let Some(other) = other {
            assert_eq!(usize::from(inserted) + usize::from(other), 1);
        }
        if inserted || other == Some(true) {
            assert_eq!(count, 1);
        }
    });
}

#[test]
fn a_late_helper_does_not_bring_back_what_was_removed() {
    check(3, 14, |steps| {
        let line = Arc::new(Line::new());
        let mortal = {
            let line = Arc::clone(&line);
            thread::spawn(move || live(steps, || line.insert(Owner(1))))
        };
        let inserted = usize::from(line.insert(Owner(2)));
        let removed = usize::from(line.remove(7));
        let again = usize::from(line.insert(Owner(2)));
        let other = mortal.join().unwrap();
        let count = line.count();
        let sure = inserted + again + usize::from(other == Some(true));
        let unsure = usize::from(other.is_none());
        assert!(count <= 1, "never twice");
        assert!(
            count + removed >= sure && count + removed <= sure + unsure,
            "what was inserted and not removed, and no more"
        );
    });
}

/// A line that becomes another, as when a table grows.
struct Move {
    old: Line,
    new_guard: AtomicU64,
    new_slots: [AtomicU64; 2],
}

impl Move {
    fn run(&self) {
        while !line::close(&self.old.guard) {
            let seen = Guard::load(&self.old.guard);
            if seen.state() == LineState::Pending {
                self.old.assist(seen);
            }
        }
        if Guard::load(&self.old.guard).state() == LineState::Moved {
            return;
        }
        for (old, new) in self.old.slots.iter().zip(&self.new_slots) {
            let value = line::freeze(old);
            line::fill(new, if value & EMPTY == 0 { value } else { EMPTY });
        }
        line::open(&self.new_guard);
        line::mark_moved(&self.old.guard);
    }

    /// Replaces the key's slot wherever it is now.
    fn replace(&self, value: u64) -> bool {
        let seen = self.old.slots[0].load(Ordering::Acquire);
        if Guard::load(&self.old.guard).state() == LineState::Idle
            && seen & line::FROZEN == 0
            && self.old.slots[0]
                .compare_exchange(seen, value, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        {
            return true;
        }
        self.run();
        let seen = self.new_slots[0].load(Ordering::Acquire);
        self.new_slots[0]
            .compare_exchange(seen, value, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

#[test]
fn a_line_moves_without_losing_or_reviving_anything() {
    check(3, 16, |steps| {
        let old = Line::new();
        old.slots[0].store(16, Ordering::Relaxed);
        let moving = Arc::new(Move {
            old,
            new_guard: AtomicU64::new(0),
            new_slots: [AtomicU64::new(0), AtomicU64::new(0)],
        });
        let mortal = {
            let moving = Arc::clone(&moving);
            thread::spawn(move || live(steps, || moving.run()))
        };
        let replaced = moving.replace(32);
        // Then it is removed, in the new table: a mover that is late must not bring it back.
        moving.run();
        assert!(replaced);
        assert_eq!(moving.new_slots[0].load(Ordering::Acquire), 32);
        moving.new_slots[0].store(7 << 4 | EMPTY, Ordering::Release);
        mortal.join().unwrap();
        assert_eq!(moving.new_slots[0].load(Ordering::Acquire), 7 << 4 | EMPTY);
        assert_eq!(moving.new_slots[1].load(Ordering::Acquire), EMPTY);
    });
}

#[test]
fn an_object_has_one_owner_and_comes_back_from_the_dead() {
    check(3, 12, |steps| {
        let free = |index| AtomicU64::new(Header::new(State::Free, 1, index, Owner::NOBODY, 0).0);
        let shared = Arc::new(([free(0), free(1)], AtomicU64::new(3)));
        let take = |shared: &([AtomicU64; 2], AtomicU64), owner, want| {
            let mut got = Vec::new();
            let found = header::take(
                &shared.1,
                want,
                owner,
                |i| Ok::<_, ()>(&shared.0[i as usize]),
                |i| got.push(i),
            );
            found.unwrap();
            got
        };
        let mortal = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                live(steps, || {
                    let got = take(&shared, Owner(1), 2);
                    let held = got.iter().map(|&index| {
                        let word = &shared.0[index as usize];
                        let seen = Header::load(word);
                        assert!(seen.is(State::Held, Owner(1)), "nobody takes what is held");
                        (word, seen)
                    });
                    // As when a magazine overflows: all headers, then all bits.
                    header::release(held, &shared.1);
                })
            })
        };
        let mine = take(&shared, Owner(2), 1);
        let survived = mortal.join().unwrap().is_some();
        for index in 0..2u32 {
            let word = &shared.0[index as usize];
            let seen = Header::load(word);
            if mine.contains(&index) {
                assert!(seen.is(State::Held, Owner(2)));
                continue;
            }
            // What the walk does.
            if seen.is(State::Held, Owner(1)) {
                assert!(!survived);
                seen.step(word, State::Free, Owner::NOBODY).unwrap();
                header::offer(&shared.1, 1 << index);
            }
            assert_eq!(Header::load(word).state(), State::Free);
            let offered = shared.1.load(Ordering::SeqCst) >> index & 1 == 1;
            assert!(
                offered || !survived,
                "a free object is offered unless somebody died just there"
            );
        }
    });
}

#[test]
fn nothing_is_popped_twice_or_lost() {
    check(3, 10, |steps| {
        let shared = Arc::new((AtomicU64::new(0), [(); 4].map(|()| AtomicU64::new(0))));
        for offset in [64, 128, 192] {
            assert!(stack::push(&shared.0, offset, &shared.1[offset as usize / 64]));
        }
        let pop = |shared: &(AtomicU64, [AtomicU64; 4])| {
            stack::pop(
                &shared.0,
                |_| {},
                |offset| Ok::<_, ()>(&shared.1[offset as usize / 64]),
            )
            .unwrap()
        };
        let mortal = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                live(steps, || {
                    let got = pop(&shared).unwrap();
                    assert!(stack::push(&shared.0, got, &shared.1[got as usize / 64]));
                })
            })
        };
        // Popped and pushed in another order, which an unversioned head would mistake for the same.
        let (first, second) = (pop(&shared), pop(&shared));
        if let Some(first) = first {
            assert!(stack::push(&shared.0, first, &shared.1[first as usize / 64]));
        }
        let survived = mortal.join().unwrap().is_some();
        let mut left: Vec<u64> = std::iter::from_fn(|| pop(&shared)).take(10).collect();
        left.extend(second);
        left.sort_unstable();
        let before = left.len();
        left.dedup();
        assert_eq!(left.len(), before, "nothing twice");
        assert!(
            left.len() == 3 || (!survived && left.len() == 2),
            "at most the one that the dead had in hand is missing"
        );
    });
}

#[test]
fn what_a_reader_sees_is_not_freed_under_it() {
    check(3, 8, |steps| {
        // An object, linked by `link`; `freed` is written when its memory is used again.
        let shared = Arc::new((
            AtomicU64::new(1),
            AtomicU64::new(0),
            AtomicU64::new(1),
            AtomicU64::new(0),
        ));
        let reader = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                live(steps, || {
                    let (era, pin, link, freed) = (&shared.0, &shared.1, &shared.2, &shared.3);
                    epoch::pin(pin, era.load(Ordering::Acquire));
                    if link.load(Ordering::Acquire) == 1 {
                        assert_eq!(freed.load(Ordering::Acquire), 0, "freed while it was being read");
                    }
                    epoch::unpin(pin);
                })
            })
        };
        let (era, pin, link, freed) = (&shared.0, &shared.1, &shared.2, &shared.3);
        link.store(0, Ordering::Release);
        epoch::after_unlinking();
        let retired = era.load(Ordering::SeqCst);
        for _ in 0..2 {
            let now = era.load(Ordering::Acquire);
            fence(Ordering::SeqCst);
            if epoch::may_advance(now, [(0, pin)].into_iter()).is_ok() {
                epoch::advance(era, now);
            }
        }
        if epoch::is_over(retired, era.load(Ordering::Acquire)) {
            freed.store(1, Ordering::Release);
        }
        reader.join().unwrap();
    });
}

/// Two keys with a value each, of which `head` says whether it was replaced, and when, by one who then looks whether anybody wants the
/// old one.
struct Dated {
    clock: AtomicU64,
    view: AtomicU64,
    keys: [[AtomicU64; 3]; 2],
}

impl Dated {
    const HEAD: usize = 0;
    const STAMP: usize = 1;
    const FREED: usize = 2;

    fn new() -> Dated {
        Dated {
            clock: AtomicU64::new(2),
            view: AtomicU64::new(0),
            keys: [(); 2].map(|()| [(); 3].map(|()| AtomicU64::new(0))),
        }
    }

    fn replace(&self, key: usize) {
        let words = &self.keys[key];
        words[Dated::HEAD].store(1, Ordering::Release);
        let died = dating::date(&words[Dated::STAMP], &self.clock);
        dating::before_looking();
        if !dating::wants(self.view.load(Ordering::Acquire), 1, died) {
            words[Dated::FREED].store(1, Ordering::Release);
        }
    }

    /// Whether one who took a view at `time` sees the later value.
    fn is_replaced(&self, key: usize, time: u64) -> bool {
        let words = &self.keys[key];
        let is_later = words[Dated::HEAD].load(Ordering::Acquire) == 1
            && dating::date(&words[Dated::STAMP], &self.clock) <= time;
        if !is_later {
            assert_eq!(
                words[Dated::FREED].load(Ordering::Acquire),
                0,
                "freed while a view wants it"
            );
        }
        is_later
    }
}

#[test]
fn a_view_sees_no_effect_without_its_cause_and_nothing_is_freed_under_it() {
    for order in [[0, 1], [1, 0]] {
        check(3, 14, move |steps| {
            let dated = Arc::new(Dated::new());
            let writer = {
                let dated = Arc::clone(&dated);
                thread::spawn(move || {
                    live(steps, || {
                        dated.replace(0);
                        dated.replace(1);
                    })
                })
            };
            let time = dating::take(&dated.view, &dated.clock);
            let mut seen = [false; 2];
            for key in order {
                seen[key] = dated.is_replaced(key, time);
            }
            for key in 0..2 {
                assert_eq!(seen[key], dated.is_replaced(key, time), "a view stays as it is");
            }
            assert!(seen[0] || !seen[1], "what was written first is there");
            writer.join().unwrap();
        });
    }
}

/// A session takes an object, makes it its own by a plain store, as an owner may, and is stalled wherever loom likes. Another cleans up after it
/// if `takes_over`, hearing whether it has ended, says so, and takes the object itself.
fn take_over(takes_over: impl Fn(bool) -> bool + Clone + Send + Sync + 'static) {
    check(3, 6, move |steps| {
        let free = Header::new(State::Free, 1, 0, Owner::NOBODY, 0);
        let shared = Arc::new((AtomicU64::new(free.0), AtomicU64::new(1), AtomicU64::new(0)));
        let take = |shared: &(AtomicU64, AtomicU64, AtomicU64), owner| {
            let taken = header::take(&shared.1, 1, owner, |_| Ok::<_, ()>(&shared.0), |_| {});
            taken.unwrap() == 1
        };
        let stalled = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                live(steps, || {
                    if take(&shared, Owner(1)) {
                        Header::load(&shared.0).set(&shared.0, State::Owned, Owner(1));
                    }
                });
                // What the kernel says of it from here on.
                shared.2.store(1, Ordering::Release);
            })
        };
        let has_ended = shared.2.load(Ordering::Acquire) == 1;
        if takes_over(has_ended) {
            let seen = Header::load(&shared.0);
            let is_theirs = seen.owner() == Owner(1);
            if is_theirs && seen.step(&shared.0, State::Free, Owner::NOBODY).is_some() {
                header::offer(&shared.1, 1);
            }
        }
        let mine = take(&shared, Owner(2));
        stalled.join().unwrap();
        if mine {
            assert!(
                Header::load(&shared.0).is(State::Held, Owner(2)),
                "one who woke late wrote over it"
            );
        }
    });
}

#[test]
fn nobody_cleans_up_after_one_that_may_wake() {
    take_over(|has_ended| has_ended);
}

#[test]
#[should_panic(expected = "one who woke late wrote over it")]
fn cleaning_up_after_one_that_is_merely_late_is_found_to_be_wrong() {
    take_over(|_| true);
}
