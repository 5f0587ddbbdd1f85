//! Commits of any bytes, for the fuzz targets.

use std::path::Path;

use super::batch::{Batch, BatchEncoder};
use super::frame::FRAME_HEADER;

/// Decodes the operations of a commit: what decodes encodes to the same bytes again.
pub fn batch(data: &[u8]) {
    let mut encoder = BatchEncoder::new();
    for op in Batch::new(data, Path::new("fuzz"), 0).ops() {
        let Ok(op) = op else { return };
        encoder.push(&op);
    }
    let again = encoder.finish().expect("it is no larger than the input");
    assert_eq!(
        &again.frame[FRAME_HEADER..][..again.len],
        data,
        "a batch has one form only"
    );
}
