//! Regions in files: who makes them, who joins them, and who sweeps away what is left of one.
//!
//! Whoever comes locks the file. Alone with it, he may find that it was never finished, that it is from before the machine's last start, or that it
//! should have gone with its last process: then he removes the *name* and begins anew with a fresh file, so that one who has the old one mapped against
//! all appearances keeps what he has. A file is only ever cut before anybody could have mapped it. Regions whose end depends on it are *attended*: their
//! processes share the lock for as long as they live, and the kernel sees to it that the dead don't.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(feature = "persist")]
use super::FLAG_PERSISTENT;
use super::{
    BUILDING, FLAG_ATTENDED, FLAG_PASSING, Lifetime, PageSize, Region, RegionOptions, check_of, layout_for,
};
use crate::error::{Error, Result};
use crate::layout::{MAGIC, at};
use crate::process;
use crate::raw::mapping::Mapping;
use crate::raw::os::{self, Lock};

pub(super) const STALE: &str = "a region from before the machine was last started";
/// How long one who only joins waits for another that is just making the region.
const OPEN_WAIT: Duration = Duration::from_secs(1);

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No bytes.
    Absent,
    /// A region that somebody began.
    Unfinished,
    Ready,
    /// A region from before the machine's last start: nobody has it mapped.
    Stale,
    /// Something that is not ours to overwrite.
    Foreign,
}

/// A file that is locked and has its name.
pub(super) struct Access {
    pub(super) file: File,
    pub(super) lock: Lock,
}

impl Access {
    /// Opens and locks the file `path`, waiting for those who are making a region of it.
    pub(super) fn to(path: &Path, create: bool, wait: Duration) -> Result<Access> {
        let patience = Instant::now();
        loop {
            let file = open_file(path, create)?;
            for lock in [Lock::Sole, Lock::Shared] {
                // Those who share it have finished it.
                if os::try_lock(&file, lock)?
                    && has_name(&file, path)
                    && (lock == Lock::Sole || phase_of(&file)? == Phase::Ready)
                {
                    return Ok(Access { file, lock });
                }
            }
            if patience.elapsed() > wait {
                return Err(Error::Again("the region is still being created"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// How it goes on with a file that we are alone with.
pub(super) enum Verdict {
    /// There is a region to be joined.
    Join,
    /// There is none yet.
    Make,
    /// What is there has to go.
    Remove(&'static str),
}

pub(super) fn judge(file: &File) -> Result<Verdict> {
    Ok(match phase_of(file)? {
        Phase::Foreign => return Err(Error::Invalid("the file is not a region")),
        Phase::Absent => Verdict::Make,
        Phase::Unfinished => Verdict::Remove("a region whose creator died before it was done"),
        Phase::Stale => Verdict::Remove(STALE),
        Phase::Ready if flags_of(file)? & FLAG_PASSING != 0 => {
            Verdict::Remove("a region that went with its last process")
        }
        Phase::Ready => Verdict::Join,
    })
}

/// A persistent region on its way to be opened.
#[cfg(feature = "persist")]
pub(crate) enum Joined {
    AsItWas(Region),
    /// Empty, and not announced; with what was found in its place.
    Prepared(Region, Option<&'static str>),
}

impl Region {
    /// Makes a region in the file `path`, where there must be none yet: in `/dev/shm` or on hugetlbfs to live in memory, anywhere else to
    /// have its pages written back by the system.
    pub fn create(path: &Path, options: &RegionOptions) -> Result<Region> {
        Region::come_to(path, Some(options), |_| {
            Err(Error::Invalid("a region exists there already"))
        })
    }

    /// Joins the region in the file `path`, or makes it if there is none or it was never finished.
    ///
    /// ```
    /// # use weald_hot::{Region, RegionOptions};
    /// # let path = std::path::PathBuf::from(format!("/dev/shm/weald-hot-doc-named-{}", std::process::id()));
    /// let options = RegionOptions { capacity: 16 << 20, ..Default::default() };
    /// let region = Region::open_or_create(&path, &options)?;
    /// region.join("first")?.put(b"k", b"v")?;
    /// drop(region);
    /// assert!(Region::open(&path)?.join("second")?.contains(b"k")?);
    /// Region::remove(&path, false)?;
    /// # Ok::<(), weald_hot::Error>(())
    /// ```
    pub fn open_or_create(path: &Path, options: &RegionOptions) -> Result<Region> {
        Region::come_to(path, Some(options), Ok)
    }

    /// Joins the region in the file `path`. Waits up to a second for one that is just being made.
    pub fn open(path: &Path) -> Result<Region> {
        Region::come_to(path, None, Ok)
    }

    /// Removes the file of a region, or what is left of one. [`Again`](Error::Again) if a living process has joined it, unless `force` says that this doesn't
    /// matter: those who have it open then keep what they have, without a name.
    pub fn remove(path: &Path, force: bool) -> Result<()> {
        let Access { file, lock } = Access::to(path, false, OPEN_WAIT)?;
        let in_use = Error::Again("a region that a process has open");
        match phase_of(&file)? {
            Phase::Foreign => return Err(Error::Invalid("the file is not a region")),
            Phase::Ready if !force => {
                if lock == Lock::Shared {
                    return Err(in_use);
                }
                // One that is damaged is nobody's use.
                let members = Region::map(file, false).and_then(|region| region.members());
                if members.is_ok_and(|members| members.iter().any(|member| member.alive)) {
                    return Err(in_use);
                }
            }
            _ => {}
        }
        remove(path)
    }

    /// Maps the region at `path` without the means to write to it.
    pub(crate) fn open_to_read(path: &Path) -> Result<Region> {
        let patience = Instant::now();
        loop {
            let file = match File::open(path) {
                Ok(file) => file,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    return Err(Error::Empty("no region at that path"));
                }
                Err(e) => return Err(Error::io("open the region's file", e)),
            };
            match phase_of(&file)? {
                Phase::Ready => return Region::map(file, false),
                Phase::Foreign => return Err(Error::Invalid("the file is not a region")),
                Phase::Stale => return Err(Error::Empty(STALE)),
                Phase::Absent | Phase::Unfinished if patience.elapsed() > OPEN_WAIT => {
                    return Err(Error::Empty("a region that was never finished"));
                }
                Phase::Absent | Phase::Unfinished => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Joins the region at `path` if `join` agrees, or makes one if there are options for it.
    fn come_to(
        path: &Path,
        options: Option<&RegionOptions>,
        join: impl Fn(File) -> Result<File>,
    ) -> Result<Region> {
        loop {
            let wait = options.map_or(OPEN_WAIT, |options| options.join_wait);
            let Access { file, lock } = Access::to(path, options.is_some(), wait)?;
            let verdict = match lock {
                Lock::Sole => judge(&file)?,
                Lock::Shared => Verdict::Join,
            };
            let region = match (verdict, options) {
                (Verdict::Join, _) => Region::attach(join(file)?)?,
                (Verdict::Make, Some(options)) => {
                    let region = Region::prepare_in_file(file, options, flags_for(options))?;
                    region.announce();
                    region
                }
                (Verdict::Make, None) => {
                    return Err(Error::Empty("a region whose creator died before it was done"));
                }
                (Verdict::Remove(why), None) => return Err(Error::Empty(why)),
                (Verdict::Remove(_), Some(_)) => {
                    remove(path)?;
                    continue;
                }
            };
            if let Some(region) = region.settle(path)? {
                return Ok(region);
            }
        }
    }

    /// Joins the persistent region at `path`, if nobody else has it open only when `check` says that it is sound, or prepares one in its place.
    #[cfg(feature = "persist")]
    pub(crate) fn join_or_prepare(
        path: &Path,
        options: &RegionOptions,
        mut check: impl FnMut(&Region) -> Result<bool>,
    ) -> Result<Joined> {
        let mut unusable = None;
        loop {
            let Access { file, lock } = Access::to(path, true, options.join_wait)?;
            let verdict = match lock {
                Lock::Sole => judge(&file)?,
                Lock::Shared => Verdict::Join,
            };
            match verdict {
                Verdict::Make => {
                    let flags = FLAG_ATTENDED | FLAG_PERSISTENT;
                    let region = Region::prepare_in_file(file, options, flags)?;
                    return Ok(Joined::Prepared(region, unusable));
                }
                Verdict::Remove(why) => {
                    unusable = Some(why);
                    remove(path)?;
                }
                Verdict::Join => {
                    let region = Region::attach(file)?;
                    if region.shared.flags & FLAG_PERSISTENT == 0 {
                        return Err(Error::Invalid("a region that was not made to be persistent"));
                    }
                    if lock == Lock::Shared || check(&region)? {
                        return Ok(Joined::AsItWas(region));
                    }
                    remove(path)?;
                }
            }
        }
    }

    /// Gives up a region that was prepared and is to be nobody's.
    #[cfg(feature = "persist")]
    pub(crate) fn abandon(self, path: &Path) -> Result<()> {
        remove(path)
    }

    /// Keeps the lock, as [`settle`](Region::settle) does, and lets sessions of the region persist it.
    #[cfg(feature = "persist")]
    pub(crate) fn settle_with(self, path: &Path, image: crate::image::Image) -> Result<Option<Region>> {
        let settled = self.settle(path)?;
        Ok(settled.map(|mut region| {
            let shared = Arc::get_mut(&mut region.shared).expect("nobody else has it yet");
            shared.image = Some(image);
            region
        }))
    }

    /// A region in an empty file that we are alone with, not announced yet.
    pub(super) fn prepare_in_file(file: File, options: &RegionOptions, flags: u64) -> Result<Region> {
        let page = os::block_size(&file).max(4096);
        let layout = layout_for(options, page)?;
        file.set_len(layout.len)
            .map_err(|e| Error::io("set the region's length", e))?;
        let mapped = os::allocate(&file, 0, layout.data_start).and_then(|()| {
            let map = Mapping::shared(file.as_fd(), layout.len, true)?;
            if page == 4096 && options.page_size != PageSize::Base {
                map.advise(0, map.len(), libc::MADV_HUGEPAGE);
            }
            Ok(map)
        });
        match mapped {
            Ok(map) => Region::prepare(map, &layout, Some(file), options, flags, page),
            Err(error) => {
                // Nobody has mapped it, and the next to come may try again.
                let _ = file.set_len(0);
                Err(error)
            }
        }
    }

    /// Keeps the lock of an attended region for as long as the region is open, and lets that of another go. `None` if the region was removed meanwhile.
    pub(super) fn settle(mut self, path: &Path) -> Result<Option<Region>> {
        let shared = Arc::get_mut(&mut self.shared).expect("nobody else has it yet");
        let file = shared.file.as_ref().expect("a region with a name has a file");
        if shared.flags & FLAG_ATTENDED == 0 {
            os::unlock(file);
            return Ok(Some(self));
        }
        // The change from sole to shared is made in two steps, between which another may have come and found nobody.
        let patience = Instant::now();
        while !os::try_lock(file, Lock::Shared)? {
            if patience.elapsed() > OPEN_WAIT {
                return Err(Error::Again("a region that another process is looking after"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        if !has_name(file, path) {
            return Ok(None);
        }
        if shared.flags & FLAG_PASSING != 0 {
            shared.passing_name = Some(path.to_path_buf());
        }
        Ok(Some(self))
    }
}

fn flags_for(options: &RegionOptions) -> u64 {
    match options.lifetime {
        Lifetime::Processes => FLAG_ATTENDED | FLAG_PASSING,
        Lifetime::Boot => 0,
    }
}

/// Removes the name of a region that nobody else has open.
pub(super) fn remove_if_last(file: &File, path: &Path) {
    // What can't be removed is taken for absent by the next to come.
    if matches!(os::try_lock(file, Lock::Sole), Ok(true)) && has_name(file, path) {
        let _ = fs::remove_file(path);
    }
}

/// Removes a name; it is no error if somebody else was faster.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove an old region", e)),
        _ => Ok(()),
    }
}

/// Whether `path` is still the name of that very file.
fn has_name(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(named)) => ours.dev() == named.dev() && ours.ino() == named.ino(),
        _ => false,
    }
}

fn header_of(file: &File) -> Result<Vec<u8>> {
    let mut head = vec![0; 4096];
    let mut len = 0;
    while len < head.len() {
        match file.read_at(&mut head[len..], len as u64) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io("read the region's header", e)),
        }
    }
    Ok(head)
}

fn word_of(head: &[u8], offset: u64) -> u64 {
    let at = offset as usize;
    u64::from_ne_bytes(head[at..at + 8].try_into().expect("eight bytes of a page"))
}

fn flags_of(file: &File) -> Result<u64> {
    Ok(word_of(&header_of(file)?, at::FLAGS))
}

pub(super) fn phase_of(file: &File) -> Result<Phase> {
    let len = file
        .metadata()
        .map_err(|e| Error::io("look at the region's file", e))?
        .len();
    if len == 0 {
        return Ok(Phase::Absent);
    }
    let head = header_of(file)?;
    let boot = [word_of(&head, at::BOOT_ID), word_of(&head, at::BOOT_ID + 8)];
    let numbers = (at::VERSION..at::HEADER_CHECK).step_by(8);
    let check = check_of(numbers.map(|offset| word_of(&head, offset)));
    Ok(match word_of(&head, at::MAGIC) {
        // What is wrong in one that is damaged is found out when it is opened; it may well be in use.
        MAGIC if boot == process::boot_id() || check != word_of(&head, at::HEADER_CHECK) => Phase::Ready,
        MAGIC => Phase::Stale,
        BUILDING => Phase::Unfinished,
        _ if head.iter().all(|&byte| byte == 0) => Phase::Unfinished,
        _ => Phase::Foreign,
    })
}

fn open_file(path: &Path, create: bool) -> Result<File> {
    let result = OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .open(path);
    match result {
        Ok(file) => Ok(file),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Error::Empty("no region at that path")),
        Err(e) => Err(Error::io("open the region's file", e)),
    }
}
