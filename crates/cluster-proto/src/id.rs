//! Names of things: nodes, copies of data, partitions, requests. Each is a type of its own, so that none passes for another.

use std::fmt;

use crate::codec::{DecodeError, Reader, Wire, Writer};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $int);

        impl Wire for $name {
            fn put(&self, out: &mut Writer) {
                self.0.put(out);
            }
            fn take(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok($name(Wire::take(from)?))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:x}", self.0)
            }
        }

        // The same number in logs, transcripts and errors, however it is written.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:x})", stringify!($name), self.0)
            }
        }
    };
}

number! {
    /// A node, for as long as it has its identity key. Transports derive it from the key and vouch for it.
    NodeId(u64)
}
number! {
    /// One set of data files of a node. A node whose disk was lost, or put back from an old copy, gets another.
    CopyId(u64)
}
number! {
    /// A part of the key space: the unit of placement, transfer and repair.
    Partition(u16)
}
number! {
    /// Which storage operation a completion belongs to.
    Token(u64)
}
number! {
    /// Which client's request a reply belongs to; the host chooses it.
    ClientToken(u64)
}
number! {
    /// A request between nodes. It is never used twice, not even after a restart.
    RequestId(u64)
}

/// Where a partition's replica is: a node, and which of its copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The node.
    pub node: NodeId,
    /// The copy that the layout counts on. Answers from another copy of the same node don't count.
    pub copy: CopyId,
}

crate::codec::wire_struct!(Owner { node, copy });
