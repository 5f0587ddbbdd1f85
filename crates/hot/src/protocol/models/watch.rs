//! A search through a list by one who can't pin, beside one who kills a node and uses its memory for a key elsewhere at once.

use loom::sync::Arc;
use loom::thread;

use super::check;
use crate::protocol::header::{self, Header, Owner, State};
use crate::protocol::watch::{self, MARK, Step, Watched};
use crate::sync::mortal::live;
use crate::sync::{AtomicU64, Ordering};

/// Nodes at 2, 4 and 6 with the keys 20, 40 and 60, each a header, a key and a link.
struct List {
    head: AtomicU64,
    nodes: [[AtomicU64; 3]; 3],
}

struct At<'a>(u64, Watched<'a>);

impl List {
    fn new() -> List {
        let word = |value| AtomicU64::new(value);
        let live = || word(Header::new(State::Live, 1, 0, Owner::NOBODY, 0).0);
        List {
            head: word(2),
            nodes: [
                [live(), word(20), word(4)],
                [live(), word(40), word(6)],
                [live(), word(60), word(0)],
            ],
        }
    }

    fn node(&self, place: u64) -> &[AtomicU64; 3] {
        &self.nodes[place as usize / 2 - 1]
    }

    fn step_header(&self, place: u64, state: State) {
        let word = &self.node(place)[0];
        assert!(Header::load(word).step(word, state, Owner(1)).is_some());
    }

    /// Kills the node at 4, takes it out, and makes of it one with the key 70 at the end.
    fn write(&self, fences: bool) {
        let [_, key, link] = self.node(4);
        let behind = link.fetch_or(MARK, Ordering::AcqRel);
        relink(&self.node(2)[2], 4, behind);
        for state in [State::Retired, State::Free, State::Held, State::Owned] {
            self.step_header(4, state);
        }
        if fences {
            header::before_writing();
        }
        key.store(70, Ordering::Relaxed);
        link.store(0, Ordering::Relaxed);
        relink(&self.node(6)[2], 0, 4);
        self.step_header(4, State::Live);
    }

    fn watch(&self, place: u64) -> Result<Watched<'_>, ()> {
        let word = &self.node(place)[0];
        let header = Header::load(word);
        if !matches!(header.state(), State::Live | State::Owned) {
            return Err(());
        }
        Ok(Watched(Some((word, header))))
    }

    /// The first key from 30 on, `None` where something was in the way.
    fn search(&self, looks_back: bool) -> Option<u64> {
        let mut last = (Watched(None), &self.head);
        for _ in 0..6 {
            let load = |place, watched| {
                let link = &self.node(place)[2];
                Ok((At(place, watched), link))
            };
            // One who doesn't look back doesn't ask whether the node before is what it was, and still leads on to this one.
            let step: Result<_, ()> = if looks_back {
                watch::step(last.0, last.1, |place| self.watch(place), load)
            } else {
                let link = AtomicU64::new(last.1.load(Ordering::Acquire));
                watch::step(Watched(None), &link, |place| self.watch(place), load)
            };
            let Ok(Step::To(At(place, watched))) = step else {
                assert!(
                    !matches!(step, Ok(Step::End)),
                    "a key that was there all the time was missed"
                );
                return None;
            };
            let [_, key, link] = self.node(place);
            let key = key.load(Ordering::Relaxed);
            if !watched.is_the_same() {
                return None;
            }
            if key >= 30 {
                return Some(key);
            }
            last = (watched, link);
        }
        panic!("round and round");
    }
}

fn relink(link: &AtomicU64, from: u64, to: u64) {
    let done = link.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
    assert!(done.is_ok());
}

fn search_while_a_node_is_used_again(looks_back: bool, fences: bool) {
    check(3, 18, move |steps| {
        let list = Arc::new(List::new());
        let mortal = {
            let list = Arc::clone(&list);
            thread::spawn(move || live(steps, || list.write(fences)))
        };
        let found = list.search(looks_back);
        assert!(matches!(found, None | Some(40 | 60)), "{found:?}");
        let survived = mortal.join().unwrap().is_some();
        if survived {
            assert_eq!(list.search(true), Some(60), "in peace it finds it at once");
        }
    });
}

#[test]
fn a_search_misses_nothing_and_goes_nowhere_else() {
    search_while_a_node_is_used_again(true, true);
}

#[test]
#[should_panic(expected = "Some(70)")]
fn a_search_that_does_not_look_back_is_found_to_be_wrong() {
    search_while_a_node_is_used_again(false, true);
}

#[test]
#[should_panic(expected = "Some(70)")]
fn a_node_that_is_written_before_its_header_is_seen_to_change_is_found_to_be_wrong() {
    search_while_a_node_is_used_again(true, false);
}
