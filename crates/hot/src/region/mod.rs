//! Regions: memory that processes share, and how they come to agree on it. Those that have names are [`named`].

mod named;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result, corrupt};
use crate::layout::{Layout, MAGIC, VERSION, at};
use crate::map::table::Table;
use crate::process::{self, Identity, Liveness};
use crate::raw::mapping::Mapping;
use crate::raw::os;
use crate::session::{Member, Session};
use crate::sync::{AtomicU64, Ordering};
#[cfg(feature = "persist")]
pub(crate) use named::Joined;
use named::Phase;

/// The first word of a region that is being made.
const BUILDING: u64 = u64::from_le_bytes(*b"WEALDBLD");
const FLAG_ASYMMETRIC_BARRIER: u64 = 1;
const FLAG_PARANOID: u64 = 2;
const FLAG_ORDERED: u64 = 4;
const FLAG_VIEWS: u64 = 8;
/// Whoever has it open shares a lock on its file.
const FLAG_ATTENDED: u64 = 16;
/// It goes with the last of those.
const FLAG_PASSING: u64 = 32;
/// Its contents can be restored from an image.
const FLAG_PERSISTENT: u64 = 64;
const FLAG_NUMA_SHIFT: u32 = 8;
const NUMA_SPREAD: u64 = 0xff;
const NUMA_LOCAL: u64 = 0xfe;

/// The size of the pages under a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PageSize {
    /// 4 KiB.
    #[default]
    Base,
    /// 2 MiB.
    Huge2M,
    /// 1 GiB.
    Huge1G,
}

impl PageSize {
    fn shift(self) -> u32 {
        match self {
            PageSize::Base => 12,
            PageSize::Huge2M => 21,
            PageSize::Huge1G => 30,
        }
    }
}

/// On which memory node of the machine volumes live. The kernel takes it as a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Numa {
    /// One volume after the other on all nodes.
    #[default]
    Spread,
    /// All on one node.
    Node(u8),
    /// Where they are first touched.
    Local,
}

/// How long a region in a file lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Lifetime {
    /// Until the last process that has it open leaves or dies. The file is removed by the one that leaves, or, if that was killed, taken for absent by
    /// the next to come.
    Processes,
    /// Until the file is removed or the machine is started anew.
    #[default]
    Boot,
}

/// What a region is made with.
#[derive(Clone, Debug)]
pub struct RegionOptions {
    /// The most bytes of volumes that the region may grow to; only what is used takes memory. Default 1 GiB.
    pub capacity: u64,
    /// Bytes of a volume, a power of two from 64 KiB on, and the bound on the size of a value. Memory is taken from and given
    /// back to the system in this unit. Default 1 MiB, or the page size where that is larger.
    pub volume_size: u64,
    /// Sessions that may be joined at once, up to 4095. Each costs 256 bytes. Default 128.
    pub sessions: u32,
    /// The page size asked for. Where the system has no such pages free, small ones are taken, and huge ones advised;
    /// [`RegionInfo::page_size`] says what it came to. A file on hugetlbfs has the page size of its mount, whatever is asked.
    pub page_size: PageSize,
    /// Which memory nodes volumes live on.
    pub numa: Numa,
    /// Checks every object against the superblock hierarchy before it is freed. Costs some 20 ns each.
    pub paranoid: bool,
    /// Keeps keys in order as well, for [`Session::range`]. Costs a node of some 60 bytes and a search for every key
    /// that is inserted or removed; replacing a value and looking one up cost what they did.
    pub ordered: bool,
    /// Keeps what keys had before for as long as a [view](Session::view) sees it. Costs 16 bytes for every entry, and a few
    /// atomic operations for one that is replaced or removed; looking one up costs one more look at it. Not together with cache mode.
    pub views: bool,
    /// Cache mode: the most bytes that entries should take, with their headers and slack; 0 for no bound. What is over it is evicted as
    /// entries are written. The capacity should be a quarter larger, for the table and the queues. Default 0.
    pub cache_bytes: u64,
    /// How long a region in a file lives. (One without a name goes with those who have it.) For one that outlives the machine's restart see
    /// `Region::open_persistent`, which takes no notice of this.
    pub lifetime: Lifetime,
    /// How long to wait for another process that is just creating the region. Default one second.
    pub join_wait: Duration,
}

impl Default for RegionOptions {
    fn default() -> Self {
        RegionOptions {
            capacity: 1 << 30,
            volume_size: 1 << 20,
            sessions: 128,
            page_size: PageSize::Base,
            numa: Numa::Spread,
            paranoid: false,
            ordered: false,
            views: false,
            cache_bytes: 0,
            lifetime: Lifetime::Boot,
            join_wait: Duration::from_secs(1),
        }
    }
}

/// Memory that sessions, of this process and of others, work in.
///
/// A handle is cheap to clone and may be used from any thread; work is done through [`Session`]s.
///
/// ```
/// use weald_hot::{Region, RegionOptions};
///
/// let region = Region::anonymous(&RegionOptions { capacity: 16 << 20, ..Default::default() })?;
/// let session = region.join("example")?;
/// session.put(b"colour", b"green")?;
/// assert_eq!(session.get(b"colour")?.as_deref(), Some(&b"green"[..]));
/// # Ok::<(), weald_hot::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Region {
    pub(crate) shared: Arc<Shared>,
}

/// What every session of a process needs of its region.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) map: Mapping,
    pub(crate) layout: Layout,
    pub(crate) hash_key: [u64; 2],
    /// The word of a table that was found to be possible, so that this isn't looked at for every key.
    pub(crate) good_table: AtomicU64,
    /// Pins are plain stores, and whoever moves the era makes them visible.
    pub(crate) asymmetric: bool,
    pub(crate) paranoid: bool,
    pub(crate) ordered: bool,
    pub(crate) has_views: bool,
    pub(crate) cache_bytes: u64,
    pub(crate) identity: Identity,
    pub(crate) liveness: Liveness,
    file: Option<File>,
    /// The name to remove when the last process leaves.
    passing_name: Option<PathBuf>,
    flags: u64,
    /// Where persist points go.
    #[cfg(feature = "persist")]
    pub(crate) image: Option<crate::image::Image>,
    numa: u64,
    numa_nodes: u32,
    page: u64,
    /// Anonymous huge pages were reserved as a whole, and dropping one would drop its reservation.
    keeps_pages: bool,
}

/// What a region is and how much of it is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionInfo {
    /// Bytes of address space, volumes not in use included.
    pub len: u64,
    /// Bytes of a volume.
    pub volume_size: u64,
    /// Volumes that the region may have.
    pub volumes_max: u64,
    /// Volumes that have memory now.
    pub volumes: u64,
    /// Volumes of these that hold nothing.
    pub volumes_free: u64,
    /// The size of the pages that were got, in bytes.
    pub page_size: u64,
    /// Sessions that are joined, the dead that nobody met yet included.
    pub sessions: u64,
    /// Sessions that may be joined at once.
    pub sessions_max: u64,
    /// Whether it keeps keys in order.
    pub ordered: bool,
    /// Whether it has views.
    pub views: bool,
    /// The budget of a cache, 0 for none.
    pub cache_bytes: u64,
    /// Whether it goes with its last process.
    pub passing: bool,
    /// Whether it was opened with an image that survives the machine's restart.
    pub persistent: bool,
    /// Sessions of dead processes that were cleaned up.
    pub recoveries: u64,
}

impl Region {
    /// Makes a region that belongs to this process alone.
    pub fn anonymous(options: &RegionOptions) -> Result<Region> {
        let page = 1 << options.page_size.shift();
        if page > 4096 {
            let layout = layout_for(options, page)?;
            let flags = libc::MAP_HUGETLB | (options.page_size.shift() as i32) << libc::MAP_HUGE_SHIFT;
            if let Ok(map) = Mapping::anonymous(layout.len, flags) {
                return Region::build(map, &layout, None, options, page);
            }
        }
        let layout = layout_for(options, 4096)?;
        let map = Mapping::anonymous(layout.len, 0)?;
        if page > 4096 {
            map.advise(0, map.len(), libc::MADV_HUGEPAGE);
        }
        Region::build(map, &layout, None, options, 4096)
    }

    /// Makes a region in a file without a name, whose length is sealed. Others join through its descriptor ([`Region::from_fd`]).
    pub fn memfd(options: &RegionOptions) -> Result<Region> {
        if options.page_size != PageSize::Base
            && let Ok(region) = Region::memfd_with_pages(options, options.page_size)
        {
            return Ok(region);
        }
        Region::memfd_with_pages(options, PageSize::Base)
    }

    fn memfd_with_pages(options: &RegionOptions, page_size: PageSize) -> Result<Region> {
        let page = 1 << page_size.shift();
        let layout = layout_for(options, page)?;
        let huge_flags = match page_size {
            PageSize::Base => 0,
            huge => libc::MFD_HUGETLB | huge.shift() << libc::MFD_HUGE_SHIFT,
        };
        let fd = os::memfd(c"weald-hot", huge_flags).map_err(|e| Error::io("create a file in memory", e))?;
        let file = File::from(fd);
        file.set_len(layout.len)
            .map_err(|e| Error::io("set the region's length", e))?;
        os::seal_length(file.as_fd()).map_err(|e| Error::io("seal the region's length", e))?;
        os::allocate(&file, 0, layout.data_start)?;
        let map = Mapping::shared(file.as_fd(), layout.len, true)?;
        Region::build(map, &layout, Some(file), options, page)
    }

    /// Joins the region behind a descriptor that another process sent.
    ///
    /// ```
    /// # use weald_hot::{Region, RegionOptions};
    /// let region = Region::memfd(&RegionOptions { capacity: 16 << 20, ..Default::default() })?;
    /// region.join("one")?.put(b"k", b"v")?;
    /// let sent = region.fd().unwrap().try_clone_to_owned().unwrap();
    /// assert!(Region::from_fd(sent)?.join("two")?.contains(b"k")?);
    /// # Ok::<(), weald_hot::Error>(())
    /// ```
    pub fn from_fd(fd: OwnedFd) -> Result<Region> {
        let file = File::from(fd);
        match named::phase_of(&file)? {
            Phase::Ready => Region::attach(file),
            Phase::Foreign => Err(Error::Invalid("the file is not a region")),
            Phase::Stale => Err(Error::Empty(named::STALE)),
            Phase::Absent | Phase::Unfinished => Err(Error::Again("the region is still being created")),
        }
    }

    /// The descriptor of the region's file, to send to others; `None` for an anonymous region.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.shared.file.as_ref().map(AsFd::as_fd)
    }

    /// Makes a region of fresh, zeroed memory, for others to join.
    fn build(
        map: Mapping,
        layout: &Layout,
        file: Option<File>,
        options: &RegionOptions,
        page: u64,
    ) -> Result<Region> {
        let region = Region::prepare(map, layout, file, options, 0, page)?;
        region.announce();
        Ok(region)
    }

    /// Lets others join. Release: whoever sees the magic sees the rest.
    pub(crate) fn announce(&self) {
        self.shared.fixed(at::MAGIC).store(MAGIC, Ordering::Release);
    }

    /// Writes the header of a fresh, zeroed region, without the magic.
    fn prepare(
        map: Mapping,
        layout: &Layout,
        file: Option<File>,
        options: &RegionOptions,
        flags: u64,
        page: u64,
    ) -> Result<Region> {
        let hash_key = os::random_words()?;
        let numa = match options.numa {
            Numa::Spread => NUMA_SPREAD,
            Numa::Local => NUMA_LOCAL,
            Numa::Node(node) => u64::from(node.min(0xfd)),
        };
        let mut flags = flags | numa << FLAG_NUMA_SHIFT;
        if os::register_barrier() {
            flags |= FLAG_ASYMMETRIC_BARRIER;
        }
        if options.paranoid {
            flags |= FLAG_PARANOID;
        }
        if options.ordered {
            flags |= FLAG_ORDERED;
        }
        if options.views {
            flags |= FLAG_VIEWS;
        }
        let set = |offset, value| map.word(offset).map(|word| word.store(value, Ordering::Relaxed));
        set(at::MAGIC, BUILDING)?;
        set(at::VERSION, VERSION)?;
        set(at::VOLUME_SIZE, layout.volume_size)?;
        set(at::VOLUMES, layout.volumes)?;
        set(at::SESSIONS, layout.sessions)?;
        set(at::PAGE, page)?;
        set(at::HASH_KEY, hash_key[0])?;
        set(at::HASH_KEY + 8, hash_key[1])?;
        set(at::PID_NAMESPACE, process::pid_namespace())?;
        let boot = process::boot_id();
        set(at::BOOT_ID, boot[0])?;
        set(at::BOOT_ID + 8, boot[1])?;
        set(at::FLAGS, flags)?;
        set(at::CACHE_BYTES, options.cache_bytes)?;
        set(at::ERA, 1)?;
        set(at::CLOCK, 1)?;
        set(at::HEADER_CHECK, header_check(&map)?)?;
        Region::assemble(map, file)
    }

    /// Maps the region in a file.
    fn attach(file: File) -> Result<Region> {
        Region::map(file, true)
    }

    fn map(file: File, writable: bool) -> Result<Region> {
        let len = file
            .metadata()
            .map_err(|e| Error::io("look at the region's file", e))?
            .len();
        if len < 4096 {
            return corrupt("a file as long as a region's header", len);
        }
        let map = Mapping::shared(file.as_fd(), len.min(crate::layout::LEN_MAX), writable)?;
        if map.word(at::MAGIC)?.load(Ordering::Acquire) != MAGIC {
            return corrupt("a region's magic", at::MAGIC);
        }
        Region::assemble(map, Some(file))
    }

    /// Reads the header once, checks it, and believes nothing else.
    fn assemble(map: Mapping, file: Option<File>) -> Result<Region> {
        let get = |offset| map.word(offset).map(|word| word.load(Ordering::Acquire));
        if get(at::VERSION)? != VERSION {
            return Err(Error::Invalid("a region of another version of Weald"));
        }
        if get(at::HEADER_CHECK)? != header_check(&map)? {
            return corrupt("a header that matches its checksum", at::HEADER_CHECK);
        }
        let page = get(at::PAGE)?;
        let layout = Layout::new(get(at::VOLUME_SIZE)?, get(at::VOLUMES)?, get(at::SESSIONS)?, page)
            .or_else(|_| corrupt("numbers that make a region", at::VOLUME_SIZE))?;
        if map.len() < layout.len {
            return corrupt("a file as long as its header says", map.len());
        }
        if get(at::PID_NAMESPACE)? != process::pid_namespace() {
            return Err(Error::Invalid(
                "a region of another pid namespace, whose processes can't be watched from here",
            ));
        }
        if [get(at::BOOT_ID)?, get(at::BOOT_ID + 8)?] != process::boot_id() {
            return Err(Error::Empty(named::STALE));
        }
        let flags = get(at::FLAGS)?;
        let asymmetric = flags & FLAG_ASYMMETRIC_BARRIER != 0;
        if asymmetric && !os::register_barrier() {
            return Err(Error::Invalid(
                "a region that needs the membarrier system call, which is not available here",
            ));
        }
        let shared = Shared {
            hash_key: [get(at::HASH_KEY)?, get(at::HASH_KEY + 8)?],
            good_table: AtomicU64::new(Table::IMPOSSIBLE),
            asymmetric,
            paranoid: flags & FLAG_PARANOID != 0,
            ordered: flags & FLAG_ORDERED != 0,
            has_views: flags & FLAG_VIEWS != 0,
            cache_bytes: get(at::CACHE_BYTES)?,
            identity: Identity::own()?,
            liveness: process::lives,
            numa: flags >> FLAG_NUMA_SHIFT & 0xff,
            numa_nodes: os::numa_nodes(),
            page,
            keeps_pages: file.is_none() && page > 4096,
            file,
            passing_name: None,
            flags,
            #[cfg(feature = "persist")]
            image: None,
            layout,
            map,
        };
        Ok(Region {
            shared: Arc::new(shared),
        })
    }

    /// Takes part under a name of up to 31 bytes, which others see in lists of sessions.
    ///
    /// Before that, sessions of processes that have died are cleaned up. One session serves one thread at a time; a process may have many.
    pub fn join(&self, name: &str) -> Result<Session> {
        Session::join(Arc::clone(&self.shared), name)
    }

    /// What the region is and how much of it is in use.
    pub fn info(&self) -> Result<RegionInfo> {
        let shared = &self.shared;
        let (volumes, volumes_free) = shared.count_volumes()?;
        Ok(RegionInfo {
            len: shared.layout.len,
            volume_size: shared.layout.volume_size,
            volumes_max: shared.layout.volumes,
            volumes,
            volumes_free,
            page_size: shared.page,
            sessions: shared.count_sessions()?,
            sessions_max: shared.layout.sessions,
            ordered: shared.ordered,
            views: shared.has_views,
            cache_bytes: shared.cache_bytes,
            passing: shared.flags & FLAG_PASSING != 0,
            persistent: shared.flags & FLAG_PERSISTENT != 0,
            recoveries: shared.fixed(at::RECOVERIES).load(Ordering::Relaxed),
        })
    }

    /// Everyone who has joined.
    pub fn members(&self) -> Result<Vec<Member>> {
        self.shared.members()
    }

    /// The same region with another idea of who lives.
    #[cfg(test)]
    pub(crate) fn with_liveness(self, liveness: Liveness) -> Region {
        let mut shared = Arc::into_inner(self.shared).expect("before the first session");
        shared.liveness = liveness;
        Region {
            shared: Arc::new(shared),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let (Some(name), Some(file)) = (&self.passing_name, &self.file) {
            named::remove_if_last(file, name);
        }
    }
}

impl Shared {
    /// A word of the header page.
    #[inline(always)]
    pub(crate) fn fixed(&self, offset: u64) -> &AtomicU64 {
        debug_assert!(offset.is_multiple_of(8));
        &self.map.header()[offset as usize / 8]
    }

    /// Gets memory for a volume.
    pub(crate) fn back_volume(&self, volume: u64) -> Result<()> {
        let (start, len) = (self.layout.volume_start(volume), self.layout.volume_size);
        if let Some(file) = &self.file {
            os::allocate(file, start, len)?;
        }
        let node = match self.numa {
            NUMA_LOCAL => return Ok(()),
            NUMA_SPREAD if self.numa_nodes < 2 => return Ok(()),
            NUMA_SPREAD => (volume % u64::from(self.numa_nodes)) as u32,
            node => node as u32,
        };
        os::bind_to_node(self.map.address(start), len, node);
        Ok(())
    }

    /// Gives a volume's memory back to the system.
    pub(crate) fn unback_volume(&self, volume: u64) {
        let (start, len) = (self.layout.volume_start(volume), self.layout.volume_size);
        match &self.file {
            Some(file) => {
                os::punch_hole(file, start, len);
            }
            None if !self.keeps_pages => {
                self.map.advise(start, len, libc::MADV_DONTNEED);
            }
            None => {}
        }
    }
}

fn layout_for(options: &RegionOptions, page: u64) -> Result<Layout> {
    if options.views && options.cache_bytes != 0 {
        return Err(Error::Invalid(
            "a cache with views: what a view keeps could not be evicted",
        ));
    }
    let volume_size = options.volume_size.max(page);
    Layout::new(
        volume_size,
        options.capacity.div_ceil(volume_size),
        u64::from(options.sessions),
        page,
    )
}

fn header_check(map: &Mapping) -> Result<u64> {
    let words = map.words(at::VERSION, (at::HEADER_CHECK - at::VERSION) / 8)?;
    Ok(check_of(words.iter().map(|word| word.load(Ordering::Acquire))))
}

/// Folds the header's numbers into one, so that a damaged header shows.
fn check_of(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(MAGIC, |sum, number| {
        (sum.rotate_left(23) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::header::{Header, Owner, State};
    use crate::session::{SlotState, Status, field};
    use std::sync::atomic::AtomicU32;

    /// The process that the fake table of processes calls dead.
    static DEAD: AtomicU32 = AtomicU32::new(0);

    fn fake_lives(who: Identity) -> bool {
        who.pid != DEAD.load(Ordering::SeqCst)
    }

    #[test]
    fn a_region_from_before_the_last_start_of_the_machine_is_made_anew() {
        let path = PathBuf::from(format!("/dev/shm/weald-hot-unit-{}", std::process::id()));
        let options = RegionOptions {
            capacity: 1 << 20,
            ..Default::default()
        };
        let region = Region::create(&path, &options).unwrap();
        region.join("test").unwrap().put(b"k", b"v").unwrap();
        let map = &region.shared.map;
        let boot = map.word(at::BOOT_ID).unwrap();
        boot.store(!boot.load(Ordering::Relaxed), Ordering::Relaxed);
        // A damaged header is not taken for an old one.
        assert!(matches!(
            Region::open_or_create(&path, &options),
            Err(Error::Corrupt(_))
        ));
        let check = header_check(map).unwrap();
        map.word(at::HEADER_CHECK)
            .unwrap()
            .store(check, Ordering::Relaxed);
        assert!(matches!(Region::open(&path), Err(Error::Empty(_))));
        let fresh = Region::open_or_create(&path, &options).unwrap();
        assert!(fresh.join("test").unwrap().is_empty().unwrap());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_reader_that_died_pinned_holds_memory_back_only_until_its_death_is_known() {
        let options = RegionOptions {
            capacity: 16 << 20,
            ..Default::default()
        };
        let region = Region::anonymous(&options).unwrap().with_liveness(fake_lives);
        let reader = region.join("reader").unwrap();
        let writer = region.join("writer").unwrap();
        writer.put(b"k", b"old").unwrap();
        let object = reader.alloc(1000, 0, 9).unwrap();
        let pinned = reader.get_ref(b"k").unwrap().unwrap();
        // The same pid as before would be another process: here it is one that the table doesn't have.
        let status = region
            .shared
            .map
            .word(region.shared.layout.session(0) + field::STATUS)
            .unwrap();
        let gone = Identity { pid: 77, start: 1 };
        status.store(Status::new(SlotState::Active, gone).0, Ordering::SeqCst);
        let churn = |writer: &Session| {
            for n in 0..5000u32 {
                writer.put(b"k", &n.to_le_bytes()).unwrap();
            }
            writer.verify().unwrap().retired
        };
        assert!(
            churn(&writer) >= 5000,
            "a living reader, stopped perhaps, keeps all that it might see"
        );
        DEAD.store(77, Ordering::SeqCst);
        churn(&writer);
        assert!(churn(&writer) < 1000);
        assert_eq!(region.info().unwrap().recoveries, 1);
        let header = Header::load(region.shared.map.word(object.offset() - 16).unwrap());
        assert!(
            !header.is(State::Owned, Owner(1)),
            "what it had allocated came back"
        );
        std::mem::forget(pinned);
        std::mem::forget(reader);
    }
}
