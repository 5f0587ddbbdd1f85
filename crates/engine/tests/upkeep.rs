//! Checks, compaction, copies, dumps, backups and repairs: on every kind of database, and on damaged bytes.

mod upkeep {
    mod backup;
    mod check;
    mod compact;
    mod dump;
    mod faults;
    mod repair;
    mod support;
}
