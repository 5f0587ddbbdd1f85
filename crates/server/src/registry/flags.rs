//! What a command is, in a word.

/// Properties of a command, with the names that Redis gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Flags(u32);

impl Flags {
    /// It may change data: it runs in a transaction that writes, and is refused where nothing may be written.
    pub(crate) const WRITE: Flags = Flags(1);
    pub(crate) const READONLY: Flags = Flags(1 << 1);
    /// It may make the data larger.
    pub(crate) const DENYOOM: Flags = Flags(1 << 2);
    pub(crate) const ADMIN: Flags = Flags(1 << 3);
    pub(crate) const PUBSUB: Flags = Flags(1 << 4);
    pub(crate) const NOSCRIPT: Flags = Flags(1 << 5);
    /// It may wait for a key.
    pub(crate) const BLOCKING: Flags = Flags(1 << 6);
    /// It is answered while the data are being loaded.
    pub(crate) const LOADING: Flags = Flags(1 << 7);
    pub(crate) const STALE: Flags = Flags(1 << 8);
    pub(crate) const SKIP_MONITOR: Flags = Flags(1 << 9);
    pub(crate) const SKIP_SLOWLOG: Flags = Flags(1 << 10);
    pub(crate) const FAST: Flags = Flags(1 << 11);
    /// Clients may send it that have not said who they are.
    pub(crate) const NO_AUTH: Flags = Flags(1 << 12);
    pub(crate) const NO_MULTI: Flags = Flags(1 << 13);
    /// Its keys can't be told without running it.
    pub(crate) const MOVABLEKEYS: Flags = Flags(1 << 14);
    pub(crate) const ALLOW_BUSY: Flags = Flags(1 << 15);
    pub(crate) const NO_MANDATORY_KEYS: Flags = Flags(1 << 16);
    /// It reads keys, though it has none of its own that say so: a snapshot is ready for it.
    pub(crate) const READS: Flags = Flags(1 << 17);

    /// It has transactions of its own: that of the tick is committed before it begins.
    pub(crate) const ALONE: Flags = Flags(1 << 18);
    /// It is run at once within `MULTI`.
    pub(crate) const NOT_QUEUED: Flags = Flags(1 << 19);
    /// A client of RESP2 may send it that has subscribed to something.
    pub(crate) const WHILE_LISTENING: Flags = Flags(1 << 20);

    /// `CLIENT PAUSE WRITE` stops it, though it writes nothing.
    pub(crate) const PAUSED: Flags = Flags(1 << 21);

    /// It writes, and what it reads before counts as a look-up all the same.
    pub(crate) const LOOKS: Flags = Flags(1 << 22);

    /// It asks about keys, and does not use them.
    pub(crate) const ASKS: Flags = Flags(1 << 23);

    /// With the names of `COMMAND INFO`.
    pub(crate) const NAMED: &[(Flags, &str)] = &[
        (Flags::WRITE, "write"),
        (Flags::READONLY, "readonly"),
        (Flags::DENYOOM, "denyoom"),
        (Flags::ADMIN, "admin"),
        (Flags::PUBSUB, "pubsub"),
        (Flags::NOSCRIPT, "noscript"),
        (Flags::BLOCKING, "blocking"),
        (Flags::LOADING, "loading"),
        (Flags::STALE, "stale"),
        (Flags::SKIP_MONITOR, "skip_monitor"),
        (Flags::SKIP_SLOWLOG, "skip_slowlog"),
        (Flags::FAST, "fast"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::NO_MULTI, "no_multi"),
        (Flags::MOVABLEKEYS, "movablekeys"),
        (Flags::ALLOW_BUSY, "allow_busy"),
        (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
    ];

    pub(crate) const fn none() -> Flags {
        Flags(0)
    }

    /// Both.
    pub(crate) const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all of `other` are among these.
    pub(crate) const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether its reply tells of data.
    pub(crate) const fn touches_data(self) -> bool {
        self.0 & (Flags::WRITE.0 | Flags::READONLY.0 | Flags::READS.0) != 0
    }
}

/// A family of commands, as `COMMAND DOCS` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    Bitmap,
    Connection,
    Generic,
    Geo,
    Hash,
    HyperLogLog,
    List,
    Pubsub,
    Server,
    Set,
    SortedSet,
    String,
    Transactions,
    Weald,
}

impl Group {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Group::Bitmap => "bitmap",
            Group::Connection => "connection",
            Group::Generic => "generic",
            Group::Geo => "geo",
            Group::Hash => "hash",
            Group::HyperLogLog => "hyperloglog",
            Group::List => "list",
            Group::Pubsub => "pubsub",
            Group::Server => "server",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::String => "string",
            Group::Transactions => "transactions",
            Group::Weald => "weald",
        }
    }

    /// The category of ACLs that its commands are in.
    pub(crate) const fn category(self) -> Category {
        match self {
            Group::Bitmap => Category::BITMAP,
            Group::Connection => Category::CONNECTION,
            Group::Generic => Category::KEYSPACE,
            Group::Geo => Category::GEO,
            Group::Hash => Category::HASH,
            Group::HyperLogLog => Category::HYPERLOGLOG,
            Group::List => Category::LIST,
            Group::Pubsub => Category::PUBSUB,
            Group::Set => Category::SET,
            Group::SortedSet => Category::SORTEDSET,
            Group::String => Category::STRING,
            Group::Transactions => Category::TRANSACTION,
            Group::Server | Group::Weald => Category::none(),
        }
    }
}

/// Categories of commands that permissions are given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Category(u32);

impl Category {
    pub(crate) const KEYSPACE: Category = Category(1);
    pub(crate) const READ: Category = Category(1 << 1);
    pub(crate) const WRITE: Category = Category(1 << 2);
    pub(crate) const SET: Category = Category(1 << 3);
    pub(crate) const SORTEDSET: Category = Category(1 << 4);
    pub(crate) const LIST: Category = Category(1 << 5);
    pub(crate) const HASH: Category = Category(1 << 6);
    pub(crate) const STRING: Category = Category(1 << 7);
    pub(crate) const BITMAP: Category = Category(1 << 8);
    pub(crate) const HYPERLOGLOG: Category = Category(1 << 9);
    pub(crate) const GEO: Category = Category(1 << 10);
    pub(crate) const STREAM: Category = Category(1 << 11);
    pub(crate) const PUBSUB: Category = Category(1 << 12);
    pub(crate) const ADMIN: Category = Category(1 << 13);
    pub(crate) const FAST: Category = Category(1 << 14);
    pub(crate) const SLOW: Category = Category(1 << 15);
    pub(crate) const BLOCKING: Category = Category(1 << 16);
    pub(crate) const DANGEROUS: Category = Category(1 << 17);
    pub(crate) const CONNECTION: Category = Category(1 << 18);
    pub(crate) const TRANSACTION: Category = Category(1 << 19);
    pub(crate) const SCRIPTING: Category = Category(1 << 20);

    /// With their names, in the order of `ACL CAT`.
    pub(crate) const NAMED: &[(Category, &str)] = &[
        (Category::KEYSPACE, "keyspace"),
        (Category::READ, "read"),
        (Category::WRITE, "write"),
        (Category::SET, "set"),
        (Category::SORTEDSET, "sortedset"),
        (Category::LIST, "list"),
        (Category::HASH, "hash"),
        (Category::STRING, "string"),
        (Category::BITMAP, "bitmap"),
        (Category::HYPERLOGLOG, "hyperloglog"),
        (Category::GEO, "geo"),
        (Category::STREAM, "stream"),
        (Category::PUBSUB, "pubsub"),
        (Category::ADMIN, "admin"),
        (Category::FAST, "fast"),
        (Category::SLOW, "slow"),
        (Category::BLOCKING, "blocking"),
        (Category::DANGEROUS, "dangerous"),
        (Category::CONNECTION, "connection"),
        (Category::TRANSACTION, "transaction"),
        (Category::SCRIPTING, "scripting"),
    ];

    pub(crate) const fn none() -> Category {
        Category(0)
    }

    pub(crate) const fn and(self, other: Category) -> Category {
        Category(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: Category) -> bool {
        self.0 & other.0 == other.0
    }

    /// What follows from flags.
    pub(crate) const fn of_flags(flags: Flags) -> Category {
        let mut found = if flags.has(Flags::FAST) {
            Category::FAST
        } else {
            Category::SLOW
        };
        if flags.has(Flags::WRITE) {
            found = found.and(Category::WRITE);
        }
        if flags.has(Flags::READONLY) {
            found = found.and(Category::READ);
        }
        if flags.has(Flags::ADMIN) {
            found = found.and(Category::ADMIN).and(Category::DANGEROUS);
        }
        if flags.has(Flags::PUBSUB) {
            found = found.and(Category::PUBSUB);
        }
        if flags.has(Flags::BLOCKING) {
            found = found.and(Category::BLOCKING);
        }
        found
    }
}
