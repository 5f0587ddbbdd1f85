//! Strings that were compressed with LZF.

/// What `bytes` were made of, which is `len` bytes long; nothing where they are damaged.
pub(super) fn expand(bytes: &[u8], len: usize) -> Option<Vec<u8>> {
    // A byte stands for 264 bytes at most, so a forged length takes no memory.
    if len / 264 > bytes.len() {
        return None;
    }
    let mut out = Vec::with_capacity(len);
    let mut rest = bytes;
    while let [control, after @ ..] = rest {
        let control = usize::from(*control);
        if control < 32 {
            let (literal, after) = after.split_at_checked(control + 1)?;
            out.extend_from_slice(literal);
            rest = after;
            continue;
        }
        let (mut run, mut after) = (control >> 5, after);
        if run == 7 {
            let (more, later) = after.split_first()?;
            run += usize::from(*more);
            after = later;
        }
        let (low, later) = after.split_first()?;
        let back = ((control & 31) << 8 | usize::from(*low)) + 1;
        let from = out.len().checked_sub(back)?;
        if out.len() + run + 2 > len {
            return None;
        }
        for i in from..from + run + 2 {
            out.push(out[i]);
        }
        rest = later;
    }
    (out.len() == len).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn runs_and_literals() {
        // `aaaaaaaaaa`: a literal and a run of nine bytes one back.
        assert_eq!(expand(&[0, b'a', 0xe0, 0, 0], 10), Some(b"aaaaaaaaaa".to_vec()));
        assert_eq!(expand(&[0, b'a', 0xe0, 0, 0], 9), None);
        assert_eq!(expand(&[0, b'a', 0x20, 5], 4), None);
        assert_eq!(expand(&[5, b'a'], 6), None);
        assert_eq!(expand(&[], usize::MAX), None);
    }
}
