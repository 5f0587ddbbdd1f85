//! Counting what an operation costs, if somebody asks.

use std::cell::Cell;

use crate::cost::{CostContext, CostResult, OperationCost};
use crate::error::Result;

/// Where costs go: nowhere, unless they were asked for.
#[derive(Clone, Copy)]
pub(crate) struct Meter<'m>(Option<&'m Cell<OperationCost>>);

impl<'m> Meter<'m> {
    pub(crate) const OFF: Meter<'static> = Meter(None);

    /// Runs what counts its costs, and returns them with its result.
    pub(crate) fn run<T>(body: impl FnOnce(Meter<'_>) -> Result<T>) -> CostResult<T> {
        let total = Cell::new(OperationCost::default());
        let value = body(Meter(Some(&total)));
        CostContext {
            value,
            cost: total.get(),
        }
    }

    pub(crate) fn is_on(self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn add(self, cost: OperationCost) {
        if let Some(total) = self.0 {
            let mut sum = total.get();
            sum += cost;
            total.set(sum);
        }
    }

    /// Something was looked up.
    pub(crate) fn seek(self) {
        self.seeks(1);
    }

    pub(crate) fn seeks(self, seeks: u64) {
        self.add(OperationCost {
            seeks,
            ..OperationCost::default()
        });
    }

    pub(crate) fn hashes(self, hash_calls: u64) {
        self.add(OperationCost {
            hash_calls,
            ..OperationCost::default()
        });
    }

    /// Bytes were given to the caller.
    pub(crate) fn loaded(self, bytes: usize) {
        self.add(OperationCost {
            loaded_bytes: bytes as u64,
            ..OperationCost::default()
        });
    }
}
