//! Many writes brought into few large ones.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;

use crate::WriteOp;

/// The most slices that one system call takes (`IOV_MAX`, the same on every Unix that matters).
const SLICES_MAX: usize = 1024;

/// Writes `ops` in order of offset, adjacent ones together.
pub(super) fn write(file: &File, ops: &[WriteOp<'_>]) -> io::Result<()> {
    let sorted = in_order(ops);
    let mut slices = Vec::with_capacity(sorted.len().min(SLICES_MAX));
    for run in runs(&sorted) {
        for part in run.chunks(SLICES_MAX) {
            slices.clear();
            slices.extend(part.iter().map(|op| IoSlice::new(op.bytes)));
            write_vectored(file, &mut slices, part[0].offset)?;
        }
    }
    Ok(())
}

/// The writes that have bytes, in order of offset; of several to one place the later ones stay later.
pub(super) fn in_order<'a>(ops: &[WriteOp<'a>]) -> Vec<WriteOp<'a>> {
    let mut sorted: Vec<_> = ops.iter().filter(|op| !op.bytes.is_empty()).copied().collect();
    sorted.sort_by_key(|op| op.offset);
    sorted
}

/// Groups sorted writes so that each begins where the one before it ends.
pub(super) fn runs<'s, 'a>(sorted: &'s [WriteOp<'a>]) -> impl Iterator<Item = &'s [WriteOp<'a>]> {
    sorted.chunk_by(|a, b| a.offset.checked_add(a.bytes.len() as u64) == Some(b.offset))
}

/// Writes all of `slices`, at most `SLICES_MAX` of them, one behind the other from `offset` on.
pub(super) fn write_vectored(file: &File, mut slices: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    while !slices.is_empty() {
        let at = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let count = slices.len() as libc::c_int;
        // SAFETY: `IoSlice` has the layout of `iovec`, and each one is a live slice of bytes that are only read.
        let written = unsafe { libc::pwritev(file.as_raw_fd(), slices.as_ptr().cast(), count, at) };
        match usize::try_from(written) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}
