//! Which layout may follow which.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{Layout, Member, Phase, assignment};
use crate::id::NodeId;

/// What an operator, or a node that joins, asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayoutChange {
    /// Takes in nodes, or nodes with other weights, zones or copies than before, and lets others go, in one move.
    Members {
        /// Who comes, or changes.
        join: BTreeMap<NodeId, Member>,
        /// Who goes.
        leave: Vec<NodeId>,
    },
    /// Goes back to the owners from before, while partitions still move.
    Abort,
}

/// Why a layout can't follow. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// Another change is going on.
    #[error("another change of the layout is going on")]
    Busy,
    /// There is nothing to change.
    #[error("the layout is like that already")]
    Unchanged,
    /// Nobody would be left, a number is out of range, or there is nothing to abort.
    #[error("such a layout makes no sense")]
    Invalid,
    /// This node has no layout, or doesn't count in it.
    #[error("this node is not a member")]
    NotMember,
}

impl Layout {
    /// The layout that this change leads to.
    pub fn changed(&self, change: &LayoutChange) -> Result<Layout, LayoutError> {
        match change {
            LayoutChange::Members { join, leave } => self.with_members(join, leave),
            LayoutChange::Abort => self.aborted(),
        }
    }

    fn with_members(&self, join: &BTreeMap<NodeId, Member>, leave: &[NodeId]) -> Result<Layout, LayoutError> {
        if self.phase != Phase::Stable {
            return Err(LayoutError::Busy);
        }
        let mut members = self.current.members.clone();
        members.extend(join.iter().map(|(&node, member)| (node, member.clone())));
        members.retain(|node, _| !leave.contains(node));
        if members == self.current.members {
            return Err(LayoutError::Unchanged);
        }
        // Fewer members than replicas would make quorums that can't be met for ever.
        let fewer = members.len() < self.current.members.len();
        if fewer && members.len() < usize::from(self.quorums.replica_count) {
            return Err(LayoutError::Invalid);
        }
        let replicas = self.quorums.replica_count;
        let next = assignment::assign(Some(&self.current), members, self.partitions(), replicas)?;
        Ok(Layout {
            version: self.version + 1,
            phase: Phase::Moving,
            old: Some(self.current.clone()),
            current: next,
            ..self.clone()
        })
    }

    fn aborted(&self) -> Result<Layout, LayoutError> {
        let old = self
            .old
            .clone()
            .filter(|_| self.phase == Phase::Moving)
            .ok_or(LayoutError::Invalid)?;
        Ok(Layout {
            version: self.version + 1,
            phase: Phase::Stable,
            current: old,
            old: None,
            ..self.clone()
        })
    }

    /// The next step of the change that is going on.
    pub(crate) fn advanced(&self) -> Option<Layout> {
        let (phase, old) = match self.phase {
            Phase::Stable => return None,
            Phase::Moving => (Phase::Settling, self.old.clone()),
            Phase::Settling => (Phase::Stable, None),
        };
        Some(Layout {
            version: self.version + 1,
            phase,
            old,
            ..self.clone()
        })
    }
}
