//! What operations cost: counted, not measured, so that the same operation costs the same everywhere.

use std::ops::AddAssign;

use crate::error::Error;

/// What an operation cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationCost {
    /// Keys looked up or written, and steps of iterators.
    pub seeks: u64,
    /// Bytes that were not stored before: of keys with their prefix, and of values.
    pub added_bytes: u64,
    /// Bytes of values written over others.
    pub replaced_bytes: u64,
    /// Bytes that are stored no more: of keys with their prefix, and of values.
    pub removed_bytes: u64,
    /// Bytes of keys (from iterators, without their prefix) and values that were given to the caller.
    pub loaded_bytes: u64,
    /// Hashes that were computed.
    pub hash_calls: u64,
}

impl AddAssign for OperationCost {
    fn add_assign(&mut self, other: OperationCost) {
        // Saturating: a count of bytes beyond 16 EiB is not worth a panic.
        let add = |sum: &mut u64, n: u64| *sum = sum.saturating_add(n);
        add(&mut self.seeks, other.seeks);
        add(&mut self.added_bytes, other.added_bytes);
        add(&mut self.replaced_bytes, other.replaced_bytes);
        add(&mut self.removed_bytes, other.removed_bytes);
        add(&mut self.loaded_bytes, other.loaded_bytes);
        add(&mut self.hash_calls, other.hash_calls);
    }
}

impl OperationCost {
    /// Of reading a key: `loaded` bytes, if it was there.
    pub(crate) fn read(loaded: Option<usize>) -> OperationCost {
        OperationCost {
            seeks: 1,
            loaded_bytes: loaded.unwrap_or(0) as u64,
            ..OperationCost::default()
        }
    }

    /// Of setting a key of `key` bytes, prefix included, from a value of `old` bytes to one of `new`; `None` where there
    /// is none.
    pub(crate) fn write(key: usize, old: Option<usize>, new: Option<usize>) -> OperationCost {
        let (key, old, new) = (key as u64, old.map(|n| n as u64), new.map(|n| n as u64));
        let mut cost = OperationCost {
            seeks: 1,
            ..OperationCost::default()
        };
        match (old, new) {
            (None, None) => {}
            (None, Some(new)) => cost.added_bytes = key + new,
            (Some(old), None) => cost.removed_bytes = key + old,
            (Some(old), Some(new)) => {
                cost.replaced_bytes = old.min(new);
                cost.added_bytes = new.saturating_sub(old);
                cost.removed_bytes = old.saturating_sub(new);
            }
        }
        cost
    }
}

/// A value, and what it cost to come by it.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostContext<T> {
    /// The value.
    pub value: T,
    /// What it cost; all zeros where nobody asked for costs.
    pub cost: OperationCost,
}

/// A result, and what it cost, be it an error.
pub type CostResult<T, E = Error> = CostContext<Result<T, E>>;

impl<T, E> CostContext<Result<T, E>> {
    /// The result, with its cost added to `total`: for operations made of others.
    pub fn add_to(self, total: &mut OperationCost) -> Result<T, E> {
        *total += self.cost;
        self.value
    }
}

/// Whether to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metering {
    Off,
    On,
}

impl Metering {
    /// Runs what gives a value and counts its cost, and forgets the latter unless it was asked for.
    pub(crate) fn run<T, E>(self, body: impl FnOnce(&mut OperationCost) -> Result<T, E>) -> CostResult<T, E> {
        let mut cost = OperationCost::default();
        let value = body(&mut cost);
        if self == Metering::Off {
            cost = OperationCost::default();
        }
        CostContext { value, cost }
    }
}
