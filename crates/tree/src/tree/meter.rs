//! Counting what an operation costs, if somebody asks.

use std::cell::Cell;

use crate::cost::{CostContext, CostResult, OperationCost};
use crate::error::Result;

/// Where costs go: nowhere, unless they were asked for.
#[derive(Clone, Copy)]
pub(crate) struct Meter<'m> {
    total: Option<&'m Cell<OperationCost>>,
    /// Whether what is written is counted: not where a read works out what a commit would write.
    writes: bool,
}

impl<'m> Meter<'m> {
    pub(crate) const OFF: Meter<'static> = Meter {
        total: None,
        writes: false,
    };

    /// Runs what counts its costs, and returns them with its result.
    pub(crate) fn run<T>(body: impl FnOnce(Meter<'_>) -> Result<T>) -> CostResult<T> {
        let total = Cell::new(OperationCost::default());
        let value = body(Meter {
            total: Some(&total),
            writes: true,
        });
        CostContext {
            value,
            cost: total.get(),
        }
    }

    /// The same for work of which nothing is written.
    pub(crate) fn of_reads(self) -> Meter<'m> {
        Meter {
            writes: false,
            ..self
        }
    }

    /// The same, but it goes to another total, if anywhere.
    pub(crate) fn onto<'n>(self, total: &'n Cell<OperationCost>) -> Meter<'n> {
        Meter {
            total: self.total.map(|_| total),
            writes: self.writes,
        }
    }

    pub(crate) fn is_on(self) -> bool {
        self.total.is_some()
    }

    pub(crate) fn counts_writes(self) -> bool {
        self.writes
    }

    pub(crate) fn add(self, cost: OperationCost) {
        if let Some(total) = self.total {
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
