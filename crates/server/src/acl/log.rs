//! What users were refused.

use std::collections::VecDeque;

/// Why somebody was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Command,
    Key,
    Channel,
    Auth,
}

impl Reason {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
            Reason::Auth => "auth",
        }
    }
}

/// A refusal, perhaps repeated.
#[derive(Clone, Debug)]
pub(crate) struct LogEntry {
    pub(crate) count: u64,
    pub(crate) reason: Reason,
    pub(crate) in_multi: bool,
    pub(crate) object: Vec<u8>,
    pub(crate) user: Vec<u8>,
    pub(crate) client: String,
    pub(crate) id: u64,
    pub(crate) created_ms: u64,
    pub(crate) updated_ms: u64,
}

/// Refusals, the newest first.
#[derive(Default)]
pub(crate) struct AclLog {
    entries: VecDeque<LogEntry>,
    next_id: u64,
}

/// Refusals that are alike are one entry within this time.
const SAME_MS: u64 = 60_000;

impl AclLog {
    pub(crate) fn add(&mut self, mut entry: LogEntry, max: usize) {
        let same = self.entries.iter().position(|known| {
            known.reason == entry.reason
                && known.in_multi == entry.in_multi
                && known.object == entry.object
                && known.user == entry.user
                && entry.created_ms.saturating_sub(known.updated_ms) < SAME_MS
        });
        if let Some(mut known) = same.and_then(|at| self.entries.remove(at)) {
            known.count += 1;
            known.updated_ms = entry.created_ms;
            known.client = entry.client;
            self.entries.push_front(known);
            return;
        }
        entry.id = self.next_id;
        self.next_id += 1;
        self.entries.push_front(entry);
        self.entries.truncate(max);
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &LogEntry> {
        self.entries.iter()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}
