//! Bugs that a simulator can switch on, to show that it finds them. They exist only in builds for that.

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A replica acknowledges a write before it is applied.
    AcknowledgeBeforeApply,
    /// Quorums shrink to the nodes that are not suspected.
    ShrinkingQuorum,
    /// The coordinator waits for one replica fewer.
    WaitForFewer,
    /// Deletions are dropped after a while, without asking the others.
    TimedTombstones,
    /// Any time is believed.
    UnboundedClock,
    /// While partitions move, only the old owners get the writes.
    SingleWrites,
    /// A new owner says that it has everything without having fetched it.
    NoTransfer,
    /// What readers find to differ is not written back before they answer.
    NoReadRepair,
    /// Requests under any layout are served.
    AnyLayout,
    /// A node whose data is an old copy is let in as if it had forgotten nothing.
    OldCopyVotes,
    /// Reads of a register don't commit a ballot.
    LooseRegisterReads,
    /// A register forgets what it promised.
    ForgottenPromise,
    /// Late writes that are older than the settled mark are taken.
    NoMarks,
    /// An owner drops what is spent as soon as it has settled itself, whatever the others have.
    EarlyDrop,
    /// A new owner doesn't ask how far deletions are settled.
    BlankMarks,
    /// A replica keeps whatever comes last.
    LastArrivalWins,
    /// A write that met something later is acknowledged as it is, whenever that was written.
    OvertakenIsDone,
    /// Partitions are never compared and nothing is kept for nodes that are away.
    NoRepair,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 18] = [
        Bug::AcknowledgeBeforeApply,
        Bug::ShrinkingQuorum,
        Bug::WaitForFewer,
        Bug::TimedTombstones,
        Bug::UnboundedClock,
        Bug::SingleWrites,
        Bug::NoTransfer,
        Bug::NoReadRepair,
        Bug::AnyLayout,
        Bug::OldCopyVotes,
        Bug::LooseRegisterReads,
        Bug::ForgottenPromise,
        Bug::NoMarks,
        Bug::EarlyDrop,
        Bug::BlankMarks,
        Bug::LastArrivalWins,
        Bug::OvertakenIsDone,
        Bug::NoRepair,
    ];
}
