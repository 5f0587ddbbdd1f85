//! Sorted sets.

use crate::registry::Command;

pub(crate) const COMMANDS: &[Command] = &[];
