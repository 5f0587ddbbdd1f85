//! Checks, compaction, copies, dumps, backups and repairs: on every kind of database, and on damaged bytes.

mod upkeep {
<<<<<<< HEAD
    pub(crate) mod backup;
    pub(crate) mod check;
    pub(crate) mod compact;
    pub(crate) mod dump;
    pub(crate) mod faults;
    pub(crate) mod repair;
    pub(crate) mod support;
=======
    mod backup;
    mod check;
    mod compact;
    mod dump;
    mod faults;
    mod repair;
    mod support;
>>>>>>> upkeep
}
