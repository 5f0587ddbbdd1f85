//! Checks, compaction, copies, dumps, backups and repairs: on every kind of database, and on damaged bytes.

mod upkeep {
    pub mod backup;
    pub mod check;
    pub mod compact;
    pub mod dump;
    pub mod support;
}
