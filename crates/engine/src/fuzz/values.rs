//! Runs of large values and images of Bloom filters.

use std::sync::OnceLock;

use xxhash_rust::xxh3::xxh3_64;

use super::Input;
use crate::bloom::Bloom;
use crate::bloom::format::{BloomHeader, GROUP};
use crate::ids::{PageId, TreeId, TxId};
use crate::large::format::{self, CHUNK, HEADER, Header};
use crate::large::writer::RunWriter;
use crate::op::LargeRef;

const SIZE: usize = 4096;
const FIRST: PageId = PageId(77);
const BIRTH: TxId = TxId(5);

/// Changes bytes of a run, forges its header too, and reads it.
pub fn large(data: &[u8]) {
    let (honest, reference) = run();
    let mut input = Input(data);
    let mut run = honest.clone();
    let mut reference = *reference;
    let forge = input.byte() % 2 == 0;
    while !input.is_empty() {
        match input.byte() {
            255 => run.truncate(input.short()),
            254 => reference.len = u64::from_le_bytes(std::array::from_fn(|_| input.byte())),
            253 => input.patch(&mut run[..]),
            _ => {
                let head = run.len().min(HEADER);
                input.patch(&mut run[..head]);
            }
        }
    }
    if forge && let Some(head) = run.first_chunk_mut::<HEADER>() {
        let checksum = xxh3_64(&head[..HEADER - 8]);
        head[HEADER - 8..].copy_from_slice(&checksum.to_le_bytes());
        reference.checksum = checksum;
    }
    if let Some(head) = run.first_chunk::<HEADER>()
        && let Ok(header) = Header::decode(head, &reference)
    {
        assert_eq!(header.encode(), *head, "a header has one form only");
        let last = header.len.div_ceil(CHUNK as u64);
        assert!(header.chunk(last).is_empty() && header.chunk(u64::MAX).is_empty());
    }
    if let Ok(value) = format::check(&run, &reference, SIZE) {
        assert_eq!(value.len() as u64, reference.len);
    }
}

fn run() -> &'static (Vec<u8>, LargeRef) {
    static RUN: OnceLock<(Vec<u8>, LargeRef)> = OnceLock::new();
    RUN.get_or_init(|| {
        let value: Vec<u8> = (0..CHUNK + 5000).map(|i| (i * 7) as u8).collect();
        let mut source = &value[..];
        let mut writer = RunWriter::new(FIRST, BIRTH, value.len() as u64, SIZE).expect("it is not too long");
        let mut run = Vec::new();
        while let Some(piece) = writer.next(&mut source).expect("the source is long enough") {
            let (start, end) = (piece.offset as usize, piece.offset as usize + piece.bytes.len());
            run.resize(run.len().max(end), 0);
            run[start..end].copy_from_slice(piece.bytes);
        }
        (run, writer.finish().expect("all was read"))
    })
}

/// Changes bytes of an image, forges its checksums too, and asks the filter that comes of it.
pub fn bloom(data: &[u8]) {
    let mut image = image().clone();
    let mut input = Input(data);
    let forge = input.byte() % 2 == 0;
    while !input.is_empty() {
        match input.byte() {
            0..=128 => input.patch(&mut image[..96]),
            _ => input.patch(&mut image),
        }
    }
    if forge {
        let checksum = xxh3_64(&image[..80]);
        image[80..88].copy_from_slice(&checksum.to_le_bytes());
    }
    let (groups, _) = image.as_chunks::<GROUP>();
    let Some((head, groups)) = groups.split_first() else {
        return;
    };
    let _ = BloomHeader::decode_within(head, image.len() as u64);
    let Ok(header) = BloomHeader::decode(head, image.len() as u64) else {
        return;
    };
    assert_eq!(header.encode(), *head, "a header has one form only");
    let bloom = Bloom::from_header(&header);
    let absorbed = groups
        .iter()
        .enumerate()
        .filter(|(i, group)| bloom.absorb(&header, *i as u64, group).is_ok())
        .count();
    assert_eq!(bloom.is_ready(), absorbed as u64 == header.groups());
    assert!(bloom.is_ready() || bloom.may_contain(bloom.hash(b"any key")));
    let _ = (bloom.is_spoilt(), bloom.false_positive_rate());
}

fn image() -> &'static Vec<u8> {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let bloom = Bloom::new(TreeId(16), 3000, 10, 42, TxId(7));
        (0..3000_u32).for_each(|i| bloom.insert(bloom.hash(&i.to_le_bytes())));
        let header = bloom.header(TxId(9));
        let mut image = header.encode().to_vec();
        (0..header.groups()).for_each(|group| image.extend_from_slice(&bloom.encode_group(&header, group)));
        image
    })
}
