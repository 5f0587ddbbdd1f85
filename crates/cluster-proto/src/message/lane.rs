//! Lanes: queues that don't wait for each other.

use super::Body;

/// Which queue a message takes. Each has a bound of its own, and an answer never stands behind a request: so nobody who waits for an answer is kept from it by others who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Answers: they are taken in at any time and ask for nothing.
    Answer,
    /// Membership and layouts: little, and never held up by data.
    Gossip,
    /// Reads, writes and ballots of clients.
    Request,
    /// Hints, comparisons and marks.
    Repair,
    /// Partitions that move.
    Transfer,
}

impl Lane {
    /// All of them, the most urgent first.
    pub const ALL: [Lane; 5] = [
        Lane::Answer,
        Lane::Gossip,
        Lane::Request,
        Lane::Repair,
        Lane::Transfer,
    ];
}

impl Body {
    /// The queue that it takes.
    pub fn lane(&self) -> Lane {
        use super::Origin;
        match self {
            Body::WriteDone { .. }
            | Body::ReadDone { .. }
            | Body::ScanDone { .. }
            | Body::Refused { .. }
            | Body::Promise { .. }
            | Body::AcceptDone { .. }
            | Body::Outbid { .. }
            | Body::MarkDone { .. }
            | Body::MarksAre { .. }
            | Body::Differ { .. }
            | Body::Exchanged { .. }
            | Body::ChangesDone { .. } => Lane::Answer,
            Body::Ping { .. }
            | Body::Pong { .. }
            | Body::PingRequest { .. }
            | Body::PingFailed { .. }
            | Body::Hello { .. }
            | Body::HelloAnswer { .. }
            | Body::Join { .. }
            | Body::LayoutFetch
            | Body::LayoutIs { .. }
            | Body::LayoutPrepare { .. }
            | Body::LayoutPromise { .. }
            | Body::LayoutAccept { .. }
            | Body::LayoutAccepted { .. }
            | Body::LayoutOutbid { .. }
            | Body::LayoutProgress { .. }
            | Body::AskMarks { .. }
            | Body::Unknown { .. } => Lane::Gossip,
            Body::Write {
                origin: Origin::Hint | Origin::Repair,
                ..
            } => Lane::Repair,
            Body::Write { .. }
            | Body::Read { .. }
            | Body::Scan { .. }
            | Body::Prepare { .. }
            | Body::Accept { .. } => Lane::Request,
            Body::Compare { .. }
            | Body::Exchange { .. }
            | Body::Changes { .. }
            | Body::Seal { .. }
            | Body::Settle { .. }
            | Body::Forget { .. } => Lane::Repair,
            Body::Pull { .. } | Body::Pulled { .. } => Lane::Transfer,
        }
    }
}
