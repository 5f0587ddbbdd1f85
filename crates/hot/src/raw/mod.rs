//! Where the crate touches the machine: mappings and system calls. Everything above is safe code.

pub(crate) mod landmark;
pub(crate) mod mapping;
pub(crate) mod os;
