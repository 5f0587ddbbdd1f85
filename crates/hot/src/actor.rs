//! A session at work: what allocation, map and recovery are methods of.

use std::collections::VecDeque;

use crate::class::Classes;
use crate::error::{Result, corrupt};
use crate::layout::{GROUPS, at};
use crate::map::table::Moving;
use crate::protocol::epoch::{self, Straggler};
use crate::protocol::header::{Header, Owner, State};
use crate::raw::os;
use crate::region::Shared;
use crate::session::{SlotState, field};
use crate::sync::{AtomicU64, Ordering, fence};

/// Retired objects after which the session tries to move the era on.
const COLLECT_AT: usize = 256;
const NUMBERS_AT_ONCE: u64 = 1 << 20;

/// A session's own memory. Nothing in it is needed to clean up after the session.
#[derive(Debug)]
pub(crate) struct Local {
    /// Free objects that are ours, for each class.
    pub(crate) magazines: Vec<Magazine>,
    /// Superblocks that were seen to be empty since the last purge, for each class.
    pub(crate) empties: Vec<u32>,
    /// What waits until nobody can be reading it, oldest first.
    limbo: VecDeque<Limbo>,
    /// Length of the limbo at which to collect next.
    collect_at: usize,
    straggler: (usize, u32),
    pub(crate) numbers: Numbers,
    pub(crate) recovering: bool,
    /// Objects that were handed out and are neither shared nor freed.
    pub(crate) owned: u64,
    /// Times that something was kept for a view.
    pub(crate) kept: u32,
    /// Writes since the cache's budget was looked at.
    pub(crate) writes: u32,
    /// What is used while lines are moved.
    pub(crate) moving: Moving,
}

#[derive(Clone, Copy, Debug)]
struct Limbo {
    offset: u64,
    era: u64,
    kind: Remains,
}

/// What is to be done with something retired once nobody reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remains {
    /// Back into a magazine.
    Object,
    /// Back to the superblock above, or to the volume pool.
    Superblock,
    /// A run of whole volumes, named by its first.
    Run,
}

/// Free objects of a class that are a session's.
#[derive(Clone, Debug)]
pub(crate) struct Magazine {
    pub(crate) objects: Vec<u64>,
    /// How many it may hold.
    pub(crate) room: usize,
}

/// Numbers that were set aside for a session and not used yet.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    last: u64,
    end: u64,
}

impl Numbers {
    /// A number below 2^60 that nobody else gets, ever: 48 bits of counter and the session's own. `None` if more have to be set aside first.
    #[inline(always)]
    pub(crate) fn next(&mut self, me: Owner) -> Option<u64> {
        if self.last == self.end {
            return None;
        }
        self.last = self.last.wrapping_add(1);
        Some((self.last & ((1 << 48) - 1)) << Owner::BITS | u64::from(me.0))
    }
}

impl Local {
    pub(crate) fn new(classes: &Classes) -> Local {
        let magazines = classes.iter().map(|class| Magazine {
            objects: Vec::new(),
            room: class.magazine,
        });
        Local {
            magazines: magazines.collect(),
            empties: vec![0; classes.len()],
            limbo: VecDeque::new(),
            collect_at: COLLECT_AT,
            straggler: (usize::MAX, 0),
            numbers: Numbers::default(),
            recovering: false,
            owned: 0,
            kept: 0,
            writes: 0,
            moving: Moving::default(),
        }
    }
}

pub(crate) struct Actor<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) me: Owner,
    pub(crate) slot: u64,
    pub(crate) local: &'a mut Local,
}

impl<'a> Actor<'a> {
    #[inline]
    pub(crate) fn word(&self, offset: u64) -> Result<&'a AtomicU64> {
        self.shared.map.word(offset)
    }

    /// A word of this session's slot.
    #[inline]
    pub(crate) fn own(&self, field: u64) -> &'a AtomicU64 {
        self.shared
            .map
            .word(self.slot + field)
            .expect("session slots lie in the region")
    }

    /// Does `work` pinned, whether the session is or not.
    pub(crate) fn with_pin<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let pin = self.own(field::PIN);
        let was = pin.load(Ordering::Relaxed);
        if was == 0 {
            pin.store(self.era(), Ordering::SeqCst);
        }
        let result = work(self);
        if was == 0 {
            pin.store(0, Ordering::Release);
        }
        result
    }

    pub(crate) fn group(&self) -> u64 {
        u64::from(self.me.0) % GROUPS
    }

    /// A number that nobody else gets, ever; see [`Numbers`].
    #[inline]
    pub(crate) fn number(&mut self) -> u64 {
        loop {
            match self.local.numbers.next(self.me) {
                Some(number) => return number,
                None => self.set_numbers_aside(),
            }
        }
    }

    #[cold]
    fn set_numbers_aside(&mut self) {
        // Before they are used, so that a later owner of this slot goes on behind them.
        let last = self
            .own(field::COUNTER)
            .fetch_add(NUMBERS_AT_ONCE, Ordering::Relaxed);
        self.local.numbers = Numbers {
            last,
            end: last.wrapping_add(NUMBERS_AT_ONCE),
        };
    }

    pub(crate) fn era(&self) -> u64 {
        self.shared.fixed(at::ERA).load(Ordering::Acquire)
    }

    /// Puts something of ours, unlinked and marked as retired, where it waits for its era to pass.
    pub(crate) fn retire(&mut self, offset: u64, kind: Remains) -> Result<()> {
        epoch::after_unlinking();
        let era = self.shared.fixed(at::ERA).load(Ordering::SeqCst);
        self.local.limbo.push_back(Limbo { offset, era, kind });
        if self.local.limbo.len() >= self.local.collect_at {
            self.collect()?;
            // If somebody holds the era back, don't ask again for every object.
            self.local.collect_at = (self.local.limbo.len() + self.local.limbo.len() / 4).max(COLLECT_AT);
        }
        Ok(())
    }

    /// Whether something still waits.
    pub(crate) fn has_limbo(&self) -> bool {
        !self.local.limbo.is_empty()
    }

    /// Moves the era on if nobody is behind, and frees what has waited long enough.
    pub(crate) fn collect(&mut self) -> Result<()> {
        let era = self.era();
        if let Err(Straggler(index)) = self.try_advance(era)? {
            let (last, times) = self.local.straggler;
            let times = if last == index { times + 1 } else { 1 };
            self.local.straggler = (index, times);
            if times >= 3 {
                self.local.straggler.1 = 0;
                if self.shared.is_orphan(self.shared.status(index as u64)?) {
                    self.recover_dead()?;
                }
            }
        }
        self.free_remains()
    }

    fn try_advance(&self, era: u64) -> Result<std::result::Result<(), Straggler>> {
        let mut pins = Vec::new();
        for index in 0..self.shared.sessions_used() {
            if self.shared.status(index)?.state() == SlotState::Active {
                let pin = self.word(self.shared.layout.session(index) + field::PIN)?;
                pins.push((index as usize, pin));
            }
        }
        // Alone there is nobody whose pin a barrier could bring to light.
        if self.shared.asymmetric && pins.len() > 1 {
            if !os::barrier_everywhere() {
                // Short of memory, say. Without the barrier nobody knows who is pinned.
                return Ok(Err(Straggler(usize::from(self.me.0) - 1)));
            }
        } else {
            fence(Ordering::SeqCst);
        }
        let verdict = epoch::may_advance(era, pins.into_iter());
        if verdict.is_ok() {
            epoch::advance(self.shared.fixed(at::ERA), era);
        }
        Ok(verdict)
    }

    fn free_remains(&mut self) -> Result<()> {
        let era = self.era();
        while let Some(&Limbo {
            offset,
            era: retired,
            kind,
        }) = self.local.limbo.front()
        {
            if !epoch::is_over(retired, era) {
                break;
            }
            self.local.limbo.pop_front();
            match kind {
                Remains::Object => {
                    let Some(word) = self.shared.map.nth_word(offset / 8) else {
                        return corrupt("an offset that lies in the region", offset);
                    };
                    let header = Header::load(word);
                    // Anything else means that a broken peer changed it: better to lose the object than to have it twice.
                    if header.is(State::Retired, self.me) {
                        let held = header.next_from((State::Retired, self.me), (State::Held, self.me));
                        self.stow(offset, word, held)?;
                    }
                }
                Remains::Superblock => self.free_superblock(offset)?,
                Remains::Run => self.free_run(offset)?,
            }
        }
        Ok(())
    }

    /// Gives back all that this session has to itself. `false` if somebody still reads what it retired.
    pub(crate) fn leave(&mut self) -> Result<bool> {
        if self.local.owned > 0 {
            // The walk finds everything that bears our number, so that nothing is known to us twice.
            self.local
                .magazines
                .iter_mut()
                .for_each(|magazine| magazine.objects.clear());
            self.local.limbo.clear();
            self.sweep(&[self.me])?;
        }
        self.empty_magazines()?;
        for _ in 0..4 {
            if !self.has_limbo() {
                break;
            }
            self.collect()?;
        }
        self.empty_magazines()?;
        Ok(!self.has_limbo())
    }
}
