//! Checks, compaction, copies, dumps, backups and repairs: on every kind of database, and on damaged bytes.

mod upkeep {
    pub(crate) mod backup;
    pub(crate) mod check;
    pub(crate) mod compact;
    pub(crate) mod dump;
    pub(crate) mod faults;
    pub(crate) mod repair;
    pub(crate) mod support;
}
