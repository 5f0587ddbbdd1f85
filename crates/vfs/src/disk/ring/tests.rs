//! The driver over a queue that completes in any order, in part, and with errors.

use super::*;

/// Does requests when it feels like it.
struct Shuffled {
    random: u64,
    pushed: Vec<(u64, Request, *const libc::iovec)>,
    submitted: Vec<(u64, Request, *const libc::iovec)>,
    done: Vec<(u64, i32)>,
    /// The result of every so many-th completion, in place of doing it.
    error: Option<(u64, i32)>,
    completions: u64,
    submit_error: Option<(u64, i32)>,
    submissions: u64,
}

impl Shuffled {
    fn new(seed: u64) -> Shuffled {
        Shuffled {
            random: seed,
            pushed: Vec::new(),
            submitted: Vec::new(),
            done: Vec::new(),
            error: None,
            completions: 0,
            submit_error: None,
            submissions: 0,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random = self
            .random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.random >> 33) as usize % bound
    }

    /// Does a part of one request.
    fn complete(&mut self) {
        let pick = self.below(self.submitted.len());
        let (id, request, vectors) = self.submitted.swap_remove(pick);
        self.completions += 1;
        if let Some((every, errno)) = self.error
            && self.completions.is_multiple_of(every)
        {
            self.done.push((id, -errno));
            return;
        }
        // SAFETY: the caller of `push` promised that the vectors are valid.
        let mut first = unsafe { *vectors };
        if first.iov_len > 1 && self.below(2) == 0 {
            first.iov_len = 1 + self.below(first.iov_len - 1);
        }
        // SAFETY: and so is the memory, of which this is a part.
        let result = unsafe {
            let offset = request.offset as libc::off_t;
            match request.writes {
                true => libc::pwrite(request.fd, first.iov_base, first.iov_len, offset),
                false => libc::pread(request.fd, first.iov_base, first.iov_len, offset),
            }
        };
        self.done.push((id, result as i32));
    }
}

impl Queue for Shuffled {
    unsafe fn push(&mut self, id: u64, request: &Request, vectors: *const libc::iovec) {
        self.pushed.push((id, request.clone(), vectors));
        assert!(self.pushed.len() + self.submitted.len() + self.done.len() <= DEPTH);
    }

    fn submit_and_wait(&mut self) -> io::Result<()> {
        self.submissions += 1;
        if let Some((at, errno)) = self.submit_error
            && self.submissions >= at
        {
            // What is under way is done all the same.
            if !self.submitted.is_empty() {
                self.complete();
            }
            return Err(io::Error::from_raw_os_error(errno));
        }
        let count = self.below(self.pushed.len() + 1);
        let taken: Vec<_> = self.pushed.drain(..count).collect();
        self.submitted.extend(taken);
        if self.submitted.is_empty() {
            self.submitted.append(&mut self.pushed);
        }
        for _ in 0..1 + self.below(self.submitted.len()) {
            self.complete();
        }
        Ok(())
    }

    fn unsubmitted(&mut self) -> usize {
        self.pushed.len()
    }

    fn pop(&mut self) -> Option<(u64, i32)> {
        self.done.pop()
    }
}

/// Writes 300 pieces through `queue`, and checks that nothing is under way afterwards. The file, and what
/// should be in it.
fn write(queue: &mut Shuffled) -> (File, Vec<u8>, io::Result<()>) {
    let file = tempfile::tempfile().unwrap();
    let bytes: Vec<u8> = (0..300 * 700).map(|i| (i / 700 + i) as u8).collect();
    let mut vectors: Vec<_> = bytes
        .chunks(350)
        .map(|part| libc::iovec {
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len(),
        })
        .collect();
    let mut requests: Vec<_> = (0..300)
        .map(|i| Request {
            fd: file.as_raw_fd(),
            writes: true,
            offset: i as u64 * 700,
            vectors: i * 2..i * 2 + 2,
        })
        .collect();
    // SAFETY: `bytes` lives across the call and is only read.
    let result = unsafe { drive(queue, &mut vectors, &mut requests) };
    assert!(queue.submitted.is_empty() && queue.done.is_empty());
    (file, bytes, result)
}

#[test]
fn all_is_written_before_a_flush_can_be_asked_for() {
    for seed in 0..20 {
        let mut queue = Shuffled::new(seed);
        if seed % 2 == 0 {
            queue.error = Some((5, [libc::EINTR, libc::EAGAIN][seed as usize / 2 % 2]));
        }
        let (file, bytes, result) = write(&mut queue);
        result.unwrap();
        let mut read = vec![0; bytes.len()];
        let (mut vectors, mut requests) = (Vec::new(), Vec::new());
        for (i, part) in read.chunks_mut(999).enumerate() {
            vectors.push(libc::iovec {
                iov_base: part.as_mut_ptr().cast(),
                iov_len: part.len(),
            });
            let offset = i as u64 * 999;
            requests.push(Request {
                fd: file.as_raw_fd(),
                writes: false,
                offset,
                vectors: i..i + 1,
            });
        }
        // SAFETY: `read` lives across the call and nobody else uses it.
        unsafe { drive(&mut queue, &mut vectors, &mut requests) }.unwrap();
        assert!(read == bytes, "seed {seed}");
    }
}

#[test]
fn an_error_is_given_out_when_nothing_is_under_way_any_more() {
    for seed in 0..20 {
        let mut queue = Shuffled::new(seed);
        queue.error = Some((50 + seed, libc::EIO));
        let (_, _, result) = write(&mut queue);
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EIO));
    }
}

#[test]
fn a_failed_submission_is_given_out_when_nothing_is_under_way_any_more() {
    for seed in 0..20 {
        let mut queue = Shuffled::new(seed);
        queue.submit_error = Some((1 + seed % 4, libc::ENXIO));
        let (_, _, result) = write(&mut queue);
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ENXIO));
    }
}

#[test]
fn reading_beyond_the_end_is_an_error() {
    let file = tempfile::tempfile().unwrap();
    let mut byte = [0];
    let mut vectors = [libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    }];
    let mut requests = [Request {
        fd: file.as_raw_fd(),
        writes: false,
        offset: 0,
        vectors: 0..1,
    }];
    // SAFETY: `byte` lives across the call and nobody else uses it.
    let result = unsafe { drive(&mut Shuffled::new(1), &mut vectors, &mut requests) };
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}
