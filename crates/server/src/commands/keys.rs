//! Keys of any type.

use crate::registry::Command;

pub(crate) const COMMANDS: &[Command] = &[];
