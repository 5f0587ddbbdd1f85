//! Small collections, whose elements stand one after the other in the key's own record: the length of each as one byte, or as 255 and four
//! bytes, and then the element.

/// The most bytes of a packed collection. With more, each element gets a record of its own.
pub(super) const PACKED_MAX: usize = 512;

/// The elements of a packed collection. A hash has a field and its value in turn, a sorted set a member and its score.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Packed<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = match self.0 {
            [] => return None,
            [255, rest @ ..] => {
                let (len, rest) = rest.split_first_chunk::<4>()?;
                (u32::from_le_bytes(*len) as usize, rest)
            }
            [len, rest @ ..] => (usize::from(*len), rest),
        };
        let (element, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some(element)
    }
}

impl<'a> Packed<'a> {
    /// The elements in pairs.
    pub(super) fn pairs(mut self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        std::iter::from_fn(move || Some((self.next()?, self.next()?)))
    }
}

/// Adds an element.
pub(super) fn push(out: &mut Vec<u8>, element: &[u8]) {
    match u8::try_from(element.len()) {
        Ok(len) if len < 255 => out.push(len),
        _ => {
            out.push(255);
            out.extend_from_slice(&(element.len() as u32).to_le_bytes());
        }
    }
    out.extend_from_slice(element);
}

/// Packs elements.
pub(super) fn pack<'a>(elements: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    elements.into_iter().for_each(|element| push(&mut out, element));
    out
}

/// Bytes that an element takes.
pub(super) fn packed_len(element: &[u8]) -> usize {
    element.len() + if element.len() < 255 { 1 } else { 5 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_back() {
        let long = vec![1; 300];
        let elements: [&[u8]; 4] = [b"", b"a", &long, &long[..254]];
        let packed = pack(elements);
        assert!(Packed(&packed).eq(elements));
        assert_eq!(
            packed.len(),
            elements.iter().map(|element| packed_len(element)).sum::<usize>()
        );
        for cut in 0..packed.len() {
            assert!(Packed(&packed[..cut]).count() < 4);
        }
    }
}
