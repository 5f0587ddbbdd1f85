//! Runs as they are written and read back, chunk by chunk, and what damage to any byte does.

use std::io::{self, Read};

use super::format::*;
use super::writer::{RunWriter, run_of_value};
use crate::ids::{PageId, PagePtr, TxId};
use crate::op::LargeRef;

const PAGE: PageId = PageId(77);
const BIRTH: TxId = TxId(0x1234_5678_9abc);

fn value(len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect()
}

/// Gives its bytes in odd portions, with interruptions.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.1.is_multiple_of(5) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let portion = out.len().min(self.1 * 977 % 30_011 + 1);
        self.0.read(&mut out[..portion])
    }
}

fn write(source: &mut dyn Read, len: usize, page_size: usize) -> Result<(Vec<u8>, LargeRef), LargeError> {
    let pages = pages_needed(len as u64, page_size)?;
    // Whatever was in the pages before is to be overwritten.
    let mut run = vec![0xee; pages as usize * page_size];
    let mut writer = RunWriter::new(PAGE, BIRTH, len as u64, page_size)?;
    let mut expected = page_size as u64;
    while let Some(piece) = writer.next(source)? {
        assert_eq!(piece.bytes.len() % page_size, 0);
        if piece.offset > 0 {
            assert_eq!(piece.offset, expected, "pieces are in sequence");
            expected += piece.bytes.len() as u64;
        } else {
            assert_eq!(expected, run.len() as u64, "the first page comes last");
        }
        run[piece.offset as usize..][..piece.bytes.len()].copy_from_slice(piece.bytes);
    }
    let large = writer.finish().expect("all pieces were written");
    Ok((run, large))
}

fn check_round_trip(len: usize, page_size: usize) {
    let value = value(len);
    let (run, large) = write(&mut &value[..], len, page_size).unwrap();
    assert!(
        check(&run, &large, page_size).unwrap() == value,
        "{len} bytes in pages of {page_size}"
    );
    let (dribbled, same) = write(&mut Dribble(&value, 0), len, page_size).unwrap();
    assert!(dribbled == run && same == large);
    let (reference, at_once) = run_of_value(PAGE, BIRTH, &value, page_size).unwrap();
    assert!(at_once == run && reference == large);
    let header = Header::decode(run.first_chunk().unwrap(), &large).unwrap();
    assert_eq!(header.reference(), large);
    assert_eq!(header, Header::salvage(&header.encode()).unwrap());
    let trailer = &run[header.trailer().start as usize..header.trailer().end as usize];
    let trailer = Trailer::decode(trailer, &header).unwrap();
    let mut at = HEADER as u64;
    for chunk in 0..header.chunks() {
        let range = header.chunk(chunk);
        assert_eq!(range.start, at);
        at = range.end;
        trailer
            .verify(chunk, &run[range.start as usize..range.end as usize])
            .unwrap();
    }
    assert_eq!(at, header.value().end);
    assert!(header.chunk(header.chunks()).is_empty());
    assert!(matches!(
        trailer.verify(header.chunks(), b""),
        Err(LargeError::Chunk(_))
    ));
}

#[test]
fn values_around_every_border_come_back() {
    for page_size in [4096, 16384, 65536] {
        let mut borders = vec![0, 1];
        for border in [page_size, 2 * page_size, CHUNK, 2 * CHUNK, 256 << 10, 512 << 10] {
            // Where the header, the value or its checksums just fit.
            for shift in [0, 8, 16, 64, 72, 80, 96, 104, 128] {
                borders.extend([border - shift - 1, border - shift, border - shift + 1]);
            }
            borders.push(border + 1);
        }
        borders
            .into_iter()
            .for_each(|len| check_round_trip(len, page_size));
    }
    check_round_trip(5_000_000, 4096);
}

#[test]
fn runs_have_no_more_pages_than_needed() {
    let check = |len, expected| assert_eq!(pages_needed(len, 4096).unwrap(), expected, "{len}");
    check(0, 1);
    check(4096 - 64 - 8, 1);
    check(4096 - 64 - 7, 2);
    check(65536, 17);
    check(LEN_MAX, 1_048_576 + 129);
    assert!(matches!(
        pages_needed(LEN_MAX + 1, 4096),
        Err(LargeError::TooLong(_))
    ));
    assert!(matches!(
        pages_needed(u64::MAX, 4096),
        Err(LargeError::TooLong(_))
    ));
    assert!(RunWriter::new(PAGE, BIRTH, u64::MAX, 4096).is_err());
}

#[test]
fn every_flipped_byte_is_caught() {
    for len in [0, 1, 3000, 5000] {
        let (run, large) = write(&mut &value(len)[..], len, 4096).unwrap();
        let header = Header::decode(run.first_chunk().unwrap(), &large).unwrap();
        for at in 0..run.len() {
            for bit in [0x01, 0x80] {
                let mut bad = run.clone();
                bad[at] ^= bit;
                let error = check(&bad, &large, 4096).unwrap_err();
                let is_right = match at as u64 {
                    0..8 => matches!(error, LargeError::Magic),
                    8..64 => matches!(error, LargeError::Header),
                    at if header.value().contains(&at) => matches!(error, LargeError::Chunk(0)),
                    at if header.trailer().contains(&at) => matches!(error, LargeError::Trailer),
                    _ => matches!(error, LargeError::Padding),
                };
                assert!(is_right, "byte {at} of {len}: {error}");
            }
        }
    }
}

#[test]
fn damage_is_found_in_its_chunk() {
    let len = 3 * CHUNK + 5;
    let (run, large) = write(&mut &value(len)[..], len, 4096).unwrap();
    for (at, chunk) in [
        (0, 0),
        (CHUNK - 1, 0),
        (CHUNK, 1),
        (2 * CHUNK, 2),
        (3 * CHUNK + 4, 3),
    ] {
        let mut bad = run.clone();
        bad[HEADER + at] ^= 4;
        assert!(matches!(check(&bad, &large, 4096), Err(LargeError::Chunk(found)) if found == chunk));
    }
}

#[test]
fn another_run_than_the_one_meant_is_refused() {
    let (run, large) = write(&mut &value(100)[..], 100, 4096).unwrap();
    let others = [
        LargeRef {
            first: PagePtr::new(PageId(78), BIRTH),
            ..large
        },
        LargeRef {
            first: PagePtr::new(PAGE, TxId(BIRTH.0 + 1)),
            ..large
        },
        LargeRef { len: 99, ..large },
        LargeRef {
            checksum: large.checksum ^ 1,
            ..large
        },
    ];
    for other in others {
        assert!(matches!(check(&run, &other, 4096), Err(LargeError::Mismatch)));
    }
    for len in [0, 63, 64, 4095, 8192] {
        let mut short = run.clone();
        short.resize(len, 0);
        assert!(
            matches!(check(&short, &large, 4096), Err(LargeError::RunLength { .. })),
            "{len}"
        );
    }
}

#[test]
fn forged_headers_are_refused() {
    let (run, _) = write(&mut &value(100)[..], 100, 4096).unwrap();
    let forged = |at: usize, field: &[u8]| {
        let mut head: [u8; HEADER] = *run.first_chunk().unwrap();
        head[at..at + field.len()].copy_from_slice(field);
        let checksum = xxhash_rust::xxh3::xxh3_64(&head[..56]);
        head[56..].copy_from_slice(&checksum.to_le_bytes());
        Header::salvage(&head).unwrap_err()
    };
    assert!(matches!(forged(8, &[2]), LargeError::Version(2)));
    assert!(matches!(forged(12, &[0]), LargeError::Shape));
    assert!(matches!(forged(16, &[0xff; 8]), LargeError::Shape));
    assert!(matches!(forged(32, &[0xff; 8]), LargeError::Shape));
    assert!(matches!(forged(48, &[1]), LargeError::Shape));
}

#[test]
fn reader_that_ends_early_or_fails_leaves_no_run() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
    struct Liar;
    impl Read for Liar {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            Ok(out.len() + 1)
        }
    }
    let value = value(300_000);
    let error = write(&mut &value[..], 300_001, 4096).unwrap_err();
    assert!(matches!(
        error,
        LargeError::SourceEnded {
            expected: 300_001,
            actual: 300_000
        }
    ));
    for source in [&mut Broken as &mut dyn Read, &mut Liar, &mut io::empty()] {
        let mut writer = RunWriter::new(PAGE, BIRTH, 10, 4096).unwrap();
        assert!(writer.next(source).is_err());
        assert!(writer.next(&mut &value[..]).unwrap().is_none());
        assert!(writer.finish().is_none());
    }
    // A longer reader is left where the value ended.
    let mut source = &value[..];
    write(&mut source, 100, 4096).unwrap();
    assert_eq!(source.len(), value.len() - 100);
}

#[test]
fn runs_keep_their_bytes() {
    let (run, large) = write(&mut &value(100_000)[..], 100_000, 4096).unwrap();
    let found = (xxhash_rust::xxh3::xxh3_64(&run), large.checksum);
    assert_eq!(
        found,
        (0x5afa_0782_b2ee_ef58, 0x0354_d4c8_3674_a36d),
        "{found:#x?}"
    );
}
