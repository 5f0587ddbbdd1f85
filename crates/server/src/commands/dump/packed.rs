//! The compact encodings of small collections: intset, ziplist, listpack. Each is a string in a payload.

/// The elements of an intset: two little-endian words, the width of each and how many, and then these.
pub(super) fn intset(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (width, rest) = bytes.split_first_chunk::<4>()?;
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let width = u32::from_le_bytes(*width) as usize;
    let count = u32::from_le_bytes(*count) as usize;
    if !matches!(width, 2 | 4 | 8) || rest.len() != count.checked_mul(width)? {
        return None;
    }
    Some(
        rest.chunks_exact(width)
            .map(|word| signed(word).to_string().into_bytes())
            .collect(),
    )
}

/// A little-endian number of up to eight bytes.
fn signed(bytes: &[u8]) -> i64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    let unused = 64 - 8 * bytes.len() as u32;
    i64::from_le_bytes(word) << unused >> unused
}

fn number(bytes: &[u8]) -> Vec<u8> {
    signed(bytes).to_string().into_bytes()
}

/// Takes some bytes from the front.
fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(taken)
}

/// The elements of a listpack: the length of all, how many, the elements, an end mark.
pub(super) fn listpack(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (len, _) = bytes.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*len) as usize != bytes.len() {
        return None;
    }
    let mut rest = bytes.get(6..)?;
    let mut out = Vec::new();
    loop {
        let first = take(&mut rest, 1)?[0];
        let before = rest.len();
        let element = match first {
            0xff => return rest.is_empty().then_some(out),
            0..0x80 => first.to_string().into_bytes(),
            0x80..0xc0 => take(&mut rest, usize::from(first & 0x3f))?.to_vec(),
            0xc0..0xe0 => {
                let low = take(&mut rest, 1)?[0];
                let raw = i32::from(first & 0x1f) << 8 | i32::from(low);
                (raw << 19 >> 19).to_string().into_bytes()
            }
            0xe0..0xf0 => {
                let low = take(&mut rest, 1)?[0];
                take(&mut rest, usize::from(first & 0x0f) << 8 | usize::from(low))?.to_vec()
            }
            0xf0 => {
                let len = u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?);
                take(&mut rest, len as usize)?.to_vec()
            }
            0xf1 => number(take(&mut rest, 2)?),
            0xf2 => number(take(&mut rest, 3)?),
            0xf3 => number(take(&mut rest, 4)?),
            0xf4 => number(take(&mut rest, 8)?),
            _ => return None,
        };
        // After it stands how long it is, in seven bits a byte, to be read from the end.
        let len = 1 + before - rest.len();
        let back = match len {
            0..128 => 1,
            128..16_384 => 2,
            16_384..2_097_152 => 3,
            2_097_152..268_435_456 => 4,
            _ => 5,
        };
        take(&mut rest, back)?;
        out.push(element);
    }
}

/// The elements of a ziplist: the length of all, where the last is, how many, the elements, an end mark.
pub(super) fn ziplist(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (len, _) = bytes.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*len) as usize != bytes.len() {
        return None;
    }
    let mut rest = bytes.get(10..)?;
    let mut out = Vec::new();
    loop {
        // How long the element before is, or the end.
        match take(&mut rest, 1)?[0] {
            0xff => return rest.is_empty().then_some(out),
            0xfe => drop(take(&mut rest, 4)?),
            _ => {}
        }
        let first = take(&mut rest, 1)?[0];
        out.push(match first {
            0..0x40 => take(&mut rest, usize::from(first))?.to_vec(),
            0x40..0x80 => {
                let low = take(&mut rest, 1)?[0];
                take(&mut rest, usize::from(first & 0x3f) << 8 | usize::from(low))?.to_vec()
            }
            0x80 => {
                let len = u32::from_be_bytes(take(&mut rest, 4)?.try_into().ok()?);
                take(&mut rest, len as usize)?.to_vec()
            }
            0xc0 => number(take(&mut rest, 2)?),
            0xd0 => number(take(&mut rest, 4)?),
            0xe0 => number(take(&mut rest, 8)?),
            0xf0 => number(take(&mut rest, 3)?),
            0xfe => number(take(&mut rest, 1)?),
            0xf1..=0xfd => ((first & 0x0f) - 1).to_string().into_bytes(),
            _ => return None,
        });
    }
}
