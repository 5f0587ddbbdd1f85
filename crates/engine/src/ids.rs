//! The numbers that name things: pages, commits, trees, places in the log.

/// Nothing that is counted from 1 up comes this far: a number beyond is damage, and sums of two below it don't overflow.
const COUNTED_MAX: u64 = 1 << 62;

/// The number of a page; its bytes are at `id × page size` in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PageId(pub(crate) u64);

impl PageId {
    /// Page ids have 40 bits: 4 PiB of the smallest pages.
    pub(crate) const BITS: u32 = 40;
    pub(crate) const MAX: u64 = (1 << Self::BITS) - 1;
}

/// A reference to a page as other pages hold it: the page's id and the low bits of the commit that it was born in, so that a
/// stale page, which an overwrite was lost on, does not pass for the one that was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PagePtr(u64);

impl PagePtr {
    /// The pointer of an empty tree. Page 0 is a meta page, so nothing else has this id.
    pub(crate) const NULL: PagePtr = PagePtr(0);

    pub(crate) fn new(id: PageId, birth: TxId) -> PagePtr {
        debug_assert!(id.0 <= PageId::MAX);
        PagePtr(id.0 | birth.0 << PageId::BITS)
    }

    pub(crate) fn id(self) -> PageId {
        PageId(self.0 & PageId::MAX)
    }

    pub(crate) fn is_null(self) -> bool {
        self.id().0 == 0
    }

    /// Whether a page that was born in commit `birth` can be the one that this pointer means.
    pub(crate) fn is_birth(self, birth: TxId) -> bool {
        self.0 >> PageId::BITS == birth.0 << PageId::BITS >> PageId::BITS
    }

    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) fn from_bits(bits: u64) -> PagePtr {
        PagePtr(bits)
    }
}

/// The number of a commit; each commit that changes anything takes the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId(pub u64);

impl TxId {
    /// What lies beyond is damage.
    pub(crate) const MAX: TxId = TxId(COUNTED_MAX);
}

/// Which bucket is meant, without its name: it stays good while the bucket exists, whatever it is renamed to. Numbers are never given
/// to another bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketId(pub(crate) TreeId);

/// The number of a tree: each bucket has one of its own, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TreeId(pub(crate) u64);

impl TreeId {
    /// The root bucket.
    pub(crate) const ROOT: TreeId = TreeId(0);
    /// (parent bucket, name) → bucket.
    pub(crate) const NAMES: TreeId = TreeId(1);
    /// What a bucket has beside its keys: its sequence number.
    pub(crate) const ATTRIBUTES: TreeId = TreeId(2);
    /// (time, bucket, key) of every key that expires.
    pub(crate) const EXPIRY: TreeId = TreeId(3);
    /// Where the trees of the buckets begin.
    pub(crate) const FIRST_USER: u64 = 16;
    /// What lies beyond is damage.
    pub(crate) const MAX: TreeId = TreeId(COUNTED_MAX);
}

/// A log sequence number: a position in the write-ahead log, in bytes since the database was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Far more than any disk takes in: what lies beyond is damage.
    pub(crate) const MAX: Lsn = Lsn(COUNTED_MAX);

    /// The position `bytes` further on.
    pub(crate) fn plus(self, bytes: u64) -> Lsn {
        Lsn(self.0 + bytes)
    }

    /// How many bytes this position lies after `earlier`.
    pub(crate) fn since(self, earlier: Lsn) -> u64 {
        debug_assert!(earlier <= self);
        self.0 - earlier.0
    }
}
