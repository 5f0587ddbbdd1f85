//! The order of keys, for regions that were created `ordered`: a skip list of nodes that hold keys and nothing else.
//!
//! Whether a key has a value, and which, is the map's to say; the index only has to have a node for every key that the map has. So:
//!
//! - inserting makes sure of a node, then inserts into the map, then *renews* the node by raising its stamp;
//! - a node may be killed (its stamp marked as dead) by one who read the stamp, then found the key absent from the map, then finds the
//!   stamp unchanged. An insertion that is complete has renewed the node after it was in the map, so either the killer sees the key
//!   or the stamp has changed; an insertion that finds its node dead makes another.
//!
//! A node without a key does no harm: whoever iterates over it skips it, and kills it. Nodes are linked by the session that made them, whose property
//! they are until that is done, and only then can they be killed: nobody links a dead node.

mod index;
mod iter;
mod node;
mod watch;

pub(crate) use index::Until;
pub use iter::Range;
pub(crate) use node::{LEVELS, MARK, Node};
