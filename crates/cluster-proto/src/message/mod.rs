//! What nodes say to each other, and its bytes.
//!
//! Every message says which copy of which node it is from, which layout that node has, and how late it is there. Transports vouch for the node; the protocol checks the rest.
//! docs/wire.md has the bytes.

use crate::clock::Version;
use crate::codec::{Bytes, DecodeError, Reader, Wire, Writer, wire_enum, wire_struct};
use crate::config::MESSAGE_MAX;
use crate::entry::{Ballot, Entry, Past, Rank, Record};
use crate::id::{CopyId, NodeId, Partition, RequestId};
use crate::layout::{Accepted, Layout};
use crate::membership::{Announcement, Update};

mod lane;

pub use lane::Lane;

/// A message with its envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Of which cluster.
    pub cluster: u64,
    /// Who sends it.
    pub from: NodeId,
    /// Which copy of its data the sender has.
    pub copy: CopyId,
    /// The version of the sender's layout; 0 if it has none.
    pub layout: u64,
    /// The sender's hybrid time.
    pub stamp: u64,
    /// What it says.
    pub body: Body,
}

/// The version of the encoding: what kinds of message that are known have in them. A kind that comes new doesn't change it, as who doesn't know it lets it pass.
pub const WIRE_VERSION: u8 = 1;

/// The first bytes of every message: a magic number and the version of the encoding.
const MAGIC: [u8; 4] = [b'W', b'd', b'm', WIRE_VERSION];

impl Message {
    /// The bytes to send.
    pub fn encode(&self) -> Vec<u8> {
        // One allocation, and no copies while it grows.
        let mut out = Vec::with_capacity(self.body.about_len());
        out.extend(MAGIC);
        self.cluster.put(&mut out);
        self.from.put(&mut out);
        self.copy.put(&mut out);
        self.layout.put(&mut out);
        self.stamp.put(&mut out);
        self.body.put(&mut out);
        out
    }

    /// Reads what [`encode`](Message::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
        if bytes.len() > MESSAGE_MAX {
            return Err(DecodeError::Invalid("a length"));
        }
        let bytes = bytes.strip_prefix(&MAGIC).ok_or(DecodeError::Version)?;
        let mut reader = Reader::new(bytes);
        let message = Message {
            cluster: Wire::take(&mut reader)?,
            from: Wire::take(&mut reader)?,
            copy: Wire::take(&mut reader)?,
            layout: Wire::take(&mut reader)?,
            stamp: Wire::take(&mut reader)?,
            body: Wire::take(&mut reader)?,
        };
        reader.finish()?;
        Ok(message)
    }
}

/// Where a write comes from, which decides what is refused as too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client.
    Client,
    /// A hint that was kept for the replica.
    Hint,
    /// A reader that saw replicas differ.
    Reader,
    /// A comparison of partitions.
    Repair,
}

wire_enum!(Origin { 0 => Client, 1 => Hint, 2 => Reader, 3 => Repair });

/// One key of a write, numbered so that the answer can name it.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteItem {
    /// The number.
    pub index: u16,
    /// The key.
    pub key: Bytes,
    /// What to apply.
    pub entry: Entry,
}

wire_struct!(WriteItem { index, key, entry });

/// What became of one key of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is applied, as durably as was asked.
    Applied,
    /// The replica holds something greater, applied before.
    Superseded {
        /// What it holds.
        by: Rank,
    },
    /// The key is a register: the write must go through it.
    IsRegister,
    /// Everything as old as this is settled.
    TooOld,
    /// The version lies too far in the future.
    Ahead,
    /// The storage failed.
    Failed,
}

wire_enum!(Written {
    0 => Applied,
    1 => Superseded { by },
    2 => IsRegister,
    3 => TooOld,
    4 => Ahead,
    5 => Failed,
});

/// What a replica has under one key of a read.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadItem {
    /// Which key of the request.
    pub index: u16,
    /// The rank of what is there.
    pub rank: Rank,
    /// Whether a register is there, even if only a promise was made.
    pub register: bool,
    /// The entry, where the whole was asked for and something is there.
    pub entry: Option<Entry>,
}

wire_struct!(ReadItem {
    index,
    rank,
    register,
    entry
});

/// Why a whole request was refused. Nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The layouts differ; the envelope says which one the replica has. Or it has only begun with this one.
    Layout,
    /// The replica can't serve yet.
    NotReady,
    /// It doesn't own the partition.
    NotOwner,
    /// It has too much to do.
    Overloaded,
    /// The ballot, or the round, is too old.
    TooOld,
    /// The storage failed.
    Failed,
}

wire_enum!(Refusal {
    0 => Layout,
    1 => NotReady,
    2 => NotOwner,
    3 => Overloaded,
    4 => TooOld,
    5 => Failed,
});

/// What a peer says to a node that was restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This is the latest state that I know of.
    Known,
    /// You have been further than that: your data is an old copy.
    Outdated,
}

wire_enum!(Verdict { 0 => Known, 1 => Outdated });

/// A key and its rank, for comparisons.
pub type Summary = (Bytes, Rank);

macro_rules! bodies {
    ($($tag:literal => $(#[$doc:meta])* $variant:ident $({ $($field:ident: $type:ty),* $(,)? })?,)*) => {
        /// What a message says.
        #[derive(Clone, Debug, PartialEq)]
        #[expect(missing_docs, reason = "the variants say what the fields are")]
        pub enum Body {
            $($(#[$doc])* $variant $({ $($field: $type),* })?,)*
            /// Something that only later builds say. It is let pass, as if it had been lost; the envelope counts.
            Unknown { tag: u8, fields: Bytes },
        }

        impl Wire for Body {
            fn put(&self, out: &mut Writer) {
                match self {
                    $(Body::$variant $({ $($field),* })? => {
                        out.push($tag);
                        $($($field.put(out);)*)?
                    })*
                    Body::Unknown { tag, fields } => {
                        out.push(*tag);
                        out.extend_from_slice(fields);
                    }
                }
            }

            fn take(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(match u8::take(from)? {
                    $($tag => Body::$variant $({ $($field: Wire::take(from)?),* })?,)*
                    tag => Body::Unknown { tag, fields: from.rest().into() },
                })
            }
        }
    };
}

bodies! {
    0 => /** Are you there? With the sender's wall clock. */ Ping { seq: u64, wall_ms: u64, updates: Vec<Update> },
    1 => /** Yes. */ Pong { seq: u64, wall_ms: u64, updates: Vec<Update> },
    2 => /** Is that one there? I got no answer. */ PingRequest { seq: u64, target: NodeId, updates: Vec<Update> },
    3 => /** I asked, and got no answer either. */ PingFailed { seq: u64, target: NodeId },
    4 => /** I was restarted. This is who I am, and how far my time may have come before. */ Hello {
        announcement: Announcement, ceiling: u64 },
    5 => /** What the receiver knows of that. Its wall clock with it. */ HelloAnswer { boot: u64, verdict: Verdict, wall_ms: u64,
        members: Vec<Update> },
    6 => /** Take me in. */ Join { announcement: Announcement, weight: u32, zone: u32 },
    10 => /** Which layout do you have? */ LayoutFetch,
    11 => /** This one. */ LayoutIs { layout: Box<Layout> },
    12 => /** May I propose the next version? */ LayoutPrepare { version: u64, ballot: Ballot },
    13 => /** Yes; and this I have accepted before. */ LayoutPromise { version: u64, ballot: Ballot, accepted: Option<Accepted> },
    14 => /** Accept this as the next version. */ LayoutAccept { ballot: Ballot, layout: Box<Layout> },
    15 => /** I have. */ LayoutAccepted { version: u64, ballot: Ballot },
    16 => /** A greater ballot was there before. */ LayoutOutbid { version: u64, promised: Ballot },
    17 => /** How far the sender is with the layout in the envelope. */ LayoutProgress { caught_up: bool },
    20 => /** Apply this. */ Write { request: RequestId, origin: Origin, durable: bool, items: Vec<WriteItem> },
    21 => /** What became of it. */ WriteDone { request: RequestId, items: Vec<(u16, Written)> },
    22 => /** What do you have under these keys? */ Read { request: RequestId, whole: bool, keys: Vec<(u16, Bytes)> },
    23 => /** This. */ ReadDone { request: RequestId, items: Vec<ReadItem> },
    24 => /** Nothing of this request was done. */ Refused { request: RequestId, reason: Refusal },
    25 => /** What do you have in this range, in order? */ Scan { request: RequestId, start: Bytes, end: Option<Bytes>, limit: u32 },
    26 => /** This, and all of it up to a key, or up to the end. */ ScanDone { request: RequestId, entries: Vec<(Bytes, Entry)>,
        upto: Option<Bytes> },
    30 => /** Promise me a ballot of this register. */ Prepare { request: RequestId, key: Bytes, ballot: Ballot },
    31 => /** I do; this is what I have accepted. */ Promise { request: RequestId, entry: Entry },
    32 => /** Accept this under the ballot. */ Accept { request: RequestId, key: Bytes, ballot: Ballot, record: Record, past: Past },
    33 => /** I have, durably. */ AcceptDone { request: RequestId },
    34 => /** A greater ballot was there before. */ Outbid { request: RequestId, promised: Ballot },
    40 => /** Give me a page of a partition. */ Pull { request: RequestId, partition: Partition, after: Option<Bytes> },
    41 => /** Here. */ Pulled { request: RequestId, entries: Vec<(Bytes, Entry)>, done: bool },
    42 => /** This is the sum of my partition; is it that of yours? */ Compare { request: RequestId, partition: Partition, root: u128 },
    43 => /** The sums of my leaves, none when the whole is the same; and the place where my ring of changes ends. */ Differ {
        request: RequestId, leaves: Vec<u128>, boot: u64, ring: u64 },
    44 => /** What I have in those leaves, in a range of keys. */ Exchange { request: RequestId, partition: Partition, leaves: Vec<u16>,
        after: Option<Bytes>, upto: Option<Bytes>, summaries: Vec<Summary> },
    45 => /** What of it is newer here, what I want, and how far that goes. */ Exchanged { request: RequestId,
        newer: Vec<(Bytes, Entry)>, wanted: Vec<Bytes>, upto: Option<Bytes>, done: bool },
    46 => /** What changed at yours since this place of your ring? */ Changes { request: RequestId, boot: u64, since: u64 },
    47 => /** These, up to a place; or too much to know. */ ChangesDone { request: RequestId, boot: u64, upto: u64, complete: bool,
        entries: Vec<(Bytes, Entry)> },
    48 => /** I begin to own these, and you did: how far are they settled? */ AskMarks { request: RequestId, partitions: Vec<Partition> },
    49 => /** So far. */ MarksAre { request: RequestId, marks: Vec<(Partition, Version)> },
    50 => /** Refuse writes up to this mark that are new to you. */ Seal { request: RequestId, partition: Partition, mark: Version },
    51 => /** Everybody has everything up to the mark: take nothing that is as old, wherever it comes from. */ Settle { request: RequestId, partition: Partition, mark: Version },
    52 => /** Done, and stored. */ MarkDone { request: RequestId },
    53 => /** Everybody has settled the mark: drop what is spent. */ Forget { request: RequestId, partition: Partition, mark: Version },
}

impl Body {
    /// About how many bytes a message with this takes, rather more than fewer. Only of writes is much known before.
    fn about_len(&self) -> usize {
        let item = |item: &WriteItem| 64 + item.key.len() + item.entry.size();
        match self {
            Body::Write { items, .. } => 64 + items.iter().map(item).sum::<usize>(),
            Body::WriteDone { items, .. } => 64 + 40 * items.len(),
            _ => 256,
        }
    }

    /// Which request it belongs to.
    pub(crate) fn request(&self) -> Option<RequestId> {
        match self {
            Body::Write { request, .. }
            | Body::Read { request, .. }
            | Body::Scan { request, .. }
            | Body::Prepare { request, .. }
            | Body::Accept { request, .. }
            | Body::Pull { request, .. }
            | Body::Compare { request, .. }
            | Body::Exchange { request, .. }
            | Body::Changes { request, .. }
            | Body::AskMarks { request, .. }
            | Body::Seal { request, .. }
            | Body::Settle { request, .. }
            | Body::Forget { request, .. } => Some(*request),
            _ => None,
        }
    }
}
