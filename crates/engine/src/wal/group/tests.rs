//! Every schedule of a few committers, one step at a time, against what a disk promises.

use std::collections::HashSet;

use super::{Flight, Group, LANES, Turn};

/// What a committer does next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    Append {
        left: u8,
    },
    Ask {
        left: u8,
        upto: u64,
    },
    /// Between the answer and the flush's beginning.
    BeginFlush {
        left: u8,
        upto: u64,
        flight: Flight,
    },
    /// The flush is under way, and `holds` were in the file when it began.
    EndFlush {
        left: u8,
        upto: u64,
        flight: Flight,
        holds: u64,
    },
    Asleep {
        left: u8,
        upto: u64,
        woken: bool,
    },
    Acknowledged {
        left: u8,
    },
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    group: Group<usize>,
    threads: Vec<Step>,
    end: u64,
    /// What is on disk whatever happens.
    on_disk: u64,
    /// What a failed flush left out: later flushes don't write it although they succeed.
    lost_from: Option<u64>,
    failures_left: u8,
}

/// How the model is set up to be wrong, to see that it finds that.
#[derive(Clone, Copy, PartialEq)]
enum Planted {
    Nothing,
    /// The flight counts on records that are appended only after it was handed out.
    CoversTooMuch,
    /// Who finishes wakes nobody.
    ForgetsToWake,
    /// A later flight is acknowledged before an earlier one.
    OutOfOrder,
}

#[derive(Default)]
struct Seen {
    states: HashSet<World>,
    most_under_way: usize,
    most_acknowledged_by_one: usize,
    refused: bool,
}

fn explore(threads: usize, commits: u8, failures: u8, planted: Planted) -> Result<Seen, String> {
    let start = World {
        group: Group::new(0),
        threads: vec![Step::Append { left: commits }; threads],
        end: 0,
        on_disk: 0,
        lost_from: None,
        failures_left: failures,
    };
    let mut seen = Seen::default();
    let mut todo = vec![start];
    while let Some(world) = todo.pop() {
        if seen.states.contains(&world) {
            continue;
        }
        let mut stuck = true;
        for t in 0..threads {
            for fails in [false, true] {
                if let Some(next) = world.step(t, fails, planted, &mut seen)? {
                    stuck = false;
                    todo.push(next);
                }
            }
        }
        let finished = |s: &Step| matches!(s, Step::Acknowledged { left: 0 } | Step::Refused);
        if stuck && !world.threads.iter().all(finished) {
            return Err(format!("nobody can go on: {world:?}"));
        }
        seen.states.insert(world);
    }
    Ok(seen)
}

impl World {
    fn step(
        &self,
        t: usize,
        fails: bool,
        planted: Planted,
        seen: &mut Seen,
    ) -> Result<Option<World>, String> {
        let mut w = self.clone();
        if fails && (!matches!(w.threads[t], Step::EndFlush { .. }) || w.failures_left == 0) {
            return Ok(None);
        }
        w.threads[t] = match w.threads[t].clone() {
            Step::Append { left } | Step::Acknowledged { left } if left > 0 => {
                w.end += 1;
                Step::Ask {
                    left: left - 1,
                    upto: w.end,
                }
            }
            Step::Ask { left, upto }
            | Step::Asleep {
                left,
                upto,
                woken: true,
            } => w.ask(t, left, upto, planted)?,
            Step::BeginFlush { left, upto, flight } => {
                seen.most_under_way = seen.most_under_way.max(1 + w.under_way());
                Step::EndFlush {
                    left,
                    upto,
                    flight,
                    holds: w.end,
                }
            }
            Step::EndFlush {
                left,
                upto,
                flight,
                holds,
            } => {
                w.end_flush(flight, holds, fails, planted, seen);
                Step::Ask { left, upto }
            }
            Step::Append { .. } | Step::Acknowledged { .. } | Step::Asleep { .. } | Step::Refused => {
                return Ok(None);
            }
        };
        seen.refused |= w.threads[t] == Step::Refused;
        Ok(Some(w))
    }

    fn ask(&mut self, t: usize, left: u8, upto: u64, planted: Planted) -> Result<Step, String> {
        let end = if planted == Planted::CoversTooMuch {
            self.end + 1
        } else {
            self.end
        };
        Ok(match self.group.ask(upto, end, || t) {
            Turn::Durable if upto > self.on_disk => return Err(format!("{upto} was acknowledged: {self:?}")),
            Turn::Durable => Step::Acknowledged { left },
            Turn::Failed => Step::Refused,
            Turn::Lead(flight) => {
                let used: Vec<_> = self.threads.iter().filter_map(Step::lane).collect();
                if used.contains(&flight.lane) || used.len() >= LANES {
                    return Err(format!("lane {} is taken: {self:?}", flight.lane));
                }
                Step::BeginFlush { left, upto, flight }
            }
            Turn::Wait => Step::Asleep {
                left,
                upto,
                woken: false,
            },
        })
    }

    fn end_flush(&mut self, flight: Flight, holds: u64, fails: bool, planted: Planted, seen: &mut Seen) {
        if fails {
            self.failures_left -= 1;
            self.lost_from.get_or_insert(self.on_disk);
        }
        self.on_disk = self.on_disk.max(self.lost_from.unwrap_or(holds).min(holds));
        let mut wake = Vec::new();
        if planted == Planted::OutOfOrder {
            self.group
                .flights
                .iter_mut()
                .for_each(|f| f.done |= f.number < flight.number);
        }
        self.group.finish(flight, !fails, &mut wake);
        if planted == Planted::ForgetsToWake {
            wake.clear();
        }
        let durable = self.group.durable();
        let mut acknowledged = 1;
        for thread in wake {
            let Step::Asleep { upto, woken, .. } = &mut self.threads[thread] else {
                panic!("{self:?}")
            };
            acknowledged += usize::from(*upto <= durable);
            *woken = true;
        }
        seen.most_acknowledged_by_one = seen.most_acknowledged_by_one.max(acknowledged);
    }

    fn under_way(&self) -> usize {
        self.threads
            .iter()
            .filter(|s| matches!(s, Step::EndFlush { .. }))
            .count()
    }
}

impl Step {
    fn lane(&self) -> Option<usize> {
        match self {
            Step::BeginFlush { flight, .. } | Step::EndFlush { flight, .. } => Some(flight.lane),
            _ => None,
        }
    }
}

#[test]
fn every_schedule_acknowledges_only_what_is_on_disk_and_strands_nobody() {
    for (threads, commits) in [(1, 3), (2, 3), (3, 2), (4, 1)] {
        let seen = explore(threads, commits, 0, Planted::Nothing).unwrap();
        assert_eq!(seen.most_under_way, threads.min(LANES), "{threads} threads");
        assert_eq!(seen.most_acknowledged_by_one, threads.max(1), "{threads} threads");
        assert!(!seen.refused);
    }
}

#[test]
fn a_failure_at_any_time_refuses_whoever_is_not_on_disk() {
    for (threads, commits) in [(1, 2), (2, 2), (3, 1), (3, 2)] {
        assert!(explore(threads, commits, 1, Planted::Nothing).unwrap().refused);
    }
}

#[test]
fn the_model_finds_planted_faults() {
    assert!(explore(2, 2, 0, Planted::CoversTooMuch).is_err());
    assert!(explore(3, 1, 0, Planted::ForgetsToWake).is_err());
    assert!(explore(3, 1, 1, Planted::OutOfOrder).is_err());
}
