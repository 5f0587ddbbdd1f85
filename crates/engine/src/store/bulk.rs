//! Pages that go to the file as they are built, in large sequential writes, while the next ones are being built.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use weald_vfs::File;

use crate::error::{Error, Result};
use crate::ids::PageId;
use crate::store::{Extent, PageFile, Space};

/// Bytes per write.
const BUFFER: usize = 1 << 20;
/// Buffers under way at once: one being filled, the others being written.
const BUFFERS: usize = 3;

/// A stream of pages into fresh extents of the file.
pub(super) struct BulkWriter {
    state: Mutex<Filling>,
    worker: Worker,
}

struct Filling {
    page_size: usize,
    /// Where the buffer's pages go.
    extent: Extent,
    buffer: Vec<u8>,
    /// Pages of the buffer that are filled.
    filled: u64,
    /// Pages of it that were sent to the file before the buffer was full, because somebody wanted to read them.
    sent: u64,
    /// Buffers that the worker has.
    in_flight: usize,
    /// Extents that were sent and may not have been written yet.
    unreadable: Vec<Extent>,
}

impl BulkWriter {
    pub(super) fn new(file: &PageFile) -> BulkWriter {
        BulkWriter {
            state: Mutex::new(Filling {
                page_size: file.page_size(),
                extent: Extent { start: 0, len: 0 },
                buffer: Vec::new(),
                filled: 0,
                sent: 0,
                in_flight: 0,
                unreadable: Vec::new(),
            }),
            worker: Worker::start(file),
        }
    }

    /// Builds the next page in place.
    pub(super) fn create(
        &mut self,
        space: &mut Space,
        fill: impl FnOnce(PageId, &mut [u8]),
    ) -> Result<PageId> {
        let state = self
            .state
            .get_mut()
            .expect("no panic while a bulk write is locked");
        if state.filled == state.extent.len {
            if state.extent.len > 0 {
                state.send(&self.worker)?;
            }
            while state.in_flight >= BUFFERS {
                state.buffer = self.worker.wait()?;
                state.in_flight -= 1;
            }
            let pages = (BUFFER / state.page_size) as u64;
            state.extent = space.take_run(pages);
            state.filled = 0;
            state.sent = 0;
            state.buffer.resize(BUFFER, 0);
        }
        let at = state.filled as usize * state.page_size;
        let id = PageId(state.extent.start + state.filled);
        fill(id, &mut state.buffer[at..at + state.page_size]);
        state.filled += 1;
        Ok(id)
    }

    /// Makes sure that the page, if it is one of this stream, is in the file, so that it can be read from there.
    pub(super) fn make_readable(&self, id: PageId, file: &PageFile) -> Result<()> {
        let mut state = self.state.lock().expect("no panic while a bulk write is locked");
        let within = |extent: &Extent| (extent.start..extent.start + extent.len).contains(&id.0);
        let current = within(&state.extent) && id.0 >= state.extent.start + state.sent;
        if !current && !state.unreadable.iter().any(within) {
            return Ok(());
        }
        if current {
            state.send_filled(file)?;
        }
        while state.in_flight > 0 {
            self.worker.wait()?;
            state.in_flight -= 1;
        }
        state.unreadable.clear();
        file.measure()
    }

    /// Waits until everything is in the file, not yet flushed. Gives the pages that were taken and not used.
    pub(super) fn finish(self, file: &PageFile) -> Result<Vec<Extent>, (Vec<Extent>, Error)> {
        let mut state = self
            .state
            .into_inner()
            .expect("no panic while a bulk write is locked");
        let unused = vec![Extent {
            start: state.extent.start + state.filled,
            len: state.extent.len - state.filled,
        }];
        let mut result = state.send_filled(file);
        while state.in_flight > 0 {
            let done = self.worker.wait().map(drop);
            result = result.and(done);
            state.in_flight -= 1;
        }
        match result.and_then(|()| file.measure()) {
            Ok(()) => Ok(unused),
            Err(e) => Err((unused, e)),
        }
    }
}

impl Filling {
    /// Sends the full buffer to the worker.
    fn send(&mut self, worker: &Worker) -> Result<()> {
        let skip = self.sent as usize * self.page_size;
        let buffer = std::mem::take(&mut self.buffer);
        let offset = self.extent.start * self.page_size as u64;
        self.unreadable.push(self.extent);
        if self.unreadable.len() > BUFFERS + 1 {
            // What was sent that long ago has been waited for.
            self.unreadable.remove(0);
        }
        self.in_flight += 1;
        worker.send(Job { buffer, skip, offset })
    }

    /// Writes what is filled of the current buffer, here and now.
    fn send_filled(&mut self, file: &PageFile) -> Result<()> {
        let (from, to) = (
            self.sent as usize * self.page_size,
            self.filled as usize * self.page_size,
        );
        if from < to {
            file.write(
                &self.buffer[from..to],
                self.extent.start * self.page_size as u64 + from as u64,
            )?;
            self.sent = self.filled;
        }
        Ok(())
    }
}

struct Job {
    buffer: Vec<u8>,
    /// Bytes at the beginning that the file has already.
    skip: usize,
    offset: u64,
}

/// The thread that writes, so that building goes on meanwhile.
struct Worker {
    jobs: Option<Sender<Job>>,
    done: Receiver<Result<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(file: &PageFile) -> Worker {
        let (jobs, todo) = channel::<Job>();
        let (finished, done) = channel();
        let (file, path): (Arc<dyn File>, PathBuf) = (file.handle(), file.path().to_owned());
        let thread = std::thread::spawn(move || {
            for job in todo {
                let offset = job.offset + job.skip as u64;
                let written = file.write_all_at(&job.buffer[job.skip..], offset);
                let result = written.map_err(|e| Error::io("write", &path, Some(offset), e));
                if finished.send(result.map(|()| job.buffer)).is_err() {
                    return;
                }
            }
        });
        Worker {
            jobs: Some(jobs),
            done,
            thread: Some(thread),
        }
    }

    fn send(&self, job: Job) -> Result<()> {
        let jobs = self.jobs.as_ref().expect("the channel is closed on drop only");
        jobs.send(job).expect("the worker ends when the channel does");
        Ok(())
    }

    /// Waits for one job, and gives its buffer back.
    fn wait(&self) -> Result<Vec<u8>> {
        self.done.recv().expect("the worker answers every job")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the worker does not panic");
        }
    }
}
