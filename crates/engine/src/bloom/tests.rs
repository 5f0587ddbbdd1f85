use super::format::{BloomError, BloomHeader, GROUP};
use super::*;

const TREE: TreeId = TreeId(20);

fn key(i: u64) -> [u8; 8] {
    i.to_be_bytes()
}

fn filled(keys: std::ops::Range<u64>, capacity: u64) -> Bloom {
    let bloom = Bloom::new(TREE, capacity, BITS_PER_KEY, 42, TxId(7));
    keys.for_each(|i| bloom.insert(bloom.hash(&key(i))));
    bloom
}

/// The share of 200,000 absent keys that pass.
fn measured_rate(bloom: &Bloom) -> f64 {
    let absent = 1 << 40..(1 << 40) + 200_000;
    let passed = absent.filter(|i| bloom.may_contain(bloom.hash(&key(*i)))).count();
    passed as f64 / 200_000.0
}

fn image(bloom: &Bloom) -> (BloomHeader, Vec<[u8; GROUP]>) {
    let header = bloom.header(TxId(9));
    let groups = (0..header.groups())
        .map(|group| bloom.encode_group(&header, group))
        .collect();
    (header, groups)
}

#[test]
fn full_filter_lets_few_absent_keys_pass() {
    for capacity in [1_000, 100_000, 1_000_000] {
        let bloom = filled(0..capacity, capacity);
        assert!((0..capacity).all(|i| bloom.may_contain(bloom.hash(&key(i)))));
        let rate = measured_rate(&bloom);
        let estimate = bloom.false_positive_rate();
        println!(
            "{capacity} keys: measured {rate:.5}, estimated {estimate:.5}, {} bytes",
            bloom.bytes()
        );
        assert!(rate <= 0.015, "{rate}");
        assert!((rate - estimate).abs() < 0.004, "{rate} against {estimate}");
        assert!(bloom.inserted() > capacity * 99 / 100 && bloom.inserted() <= capacity);
    }
}

#[test]
fn few_bits_per_key_work_too() {
    for bits in [0, 1, 4, 8, 16, 64] {
        let bloom = Bloom::new(TREE, 10_000, bits, 1, TxId(0));
        (0..10_000).for_each(|i| bloom.insert(bloom.hash(&key(i))));
        assert!((0..10_000).all(|i| bloom.may_contain(bloom.hash(&key(i)))));
        println!("{bits} bits: {:.5}", measured_rate(&bloom));
    }
    let empty = Bloom::new(TREE, 0, 10, 1, TxId(0));
    assert!(!empty.may_contain(empty.hash(b"")));
}

#[test]
fn concurrent_inserts_are_never_missed() {
    let bloom = Bloom::new(TREE, 40_000, BITS_PER_KEY, 3, TxId(0));
    // Each thread publishes how many of its keys are in, and the others ask for them at once.
    let published: [AtomicU64; 4] = Default::default();
    std::thread::scope(|scope| {
        for (thread, own) in published.iter().enumerate() {
            let (bloom, published) = (&bloom, &published);
            scope.spawn(move || {
                for i in 0..10_000 {
                    bloom.insert(bloom.hash(&key((thread as u64) << 32 | i)));
                    own.store(i + 1, Ordering::Release);
                    let other = (thread + 1 + i as usize % 3) % 4;
                    if let Some(last) = published[other].load(Ordering::Acquire).checked_sub(1) {
                        assert!(bloom.may_contain(bloom.hash(&key((other as u64) << 32 | last))));
                    }
                }
            });
        }
    });
    assert!(
        (0..4 << 32)
            .step_by(1 << 32)
            .all(|t| (0..10_000).all(|i| bloom.may_contain(bloom.hash(&key(t | i)))))
    );
}

#[test]
fn filter_is_spoilt_by_growth_and_by_deletes() {
    let bloom = filled(0..900, 1000);
    assert!(!bloom.is_spoilt());
    bloom.note_deleted(600);
    assert!(bloom.is_spoilt());
    assert!(filled(0..1100, 1000).is_spoilt());
}

#[test]
fn image_comes_back_group_by_group_while_keys_are_inserted() {
    let bloom = filled(0..300_000, 300_000);
    let (header, groups) = image(&bloom);
    assert!(groups.len() > 64);
    let decoded = BloomHeader::decode(&header.encode(), header.image_len()).unwrap();
    assert_eq!(decoded, header);
    let loaded = Bloom::from_header(&decoded);
    assert!(
        loaded.may_contain(loaded.hash(&key(1 << 50))),
        "maybe until it is ready"
    );
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (loaded, groups) = (&loaded, &groups);
            scope.spawn(move || {
                // Every group comes in twice, in different orders.
                for i in 0..groups.len() {
                    let i = if thread == 0 { i } else { groups.len() - 1 - i };
                    loaded.absorb(&header, i as u64, &groups[i]).unwrap();
                }
            });
        }
        scope.spawn(|| (300_000..301_000).for_each(|i| loaded.insert(loaded.hash(&key(i)))));
    });
    assert!(loaded.is_ready());
    assert!((0..301_000).all(|i| loaded.may_contain(loaded.hash(&key(i)))));
    assert!(measured_rate(&loaded) < 0.015);
    assert_eq!((loaded.valid_from(), loaded.capacity()), (TxId(7), 300_000));
    assert!(loaded.speaks_for(TxId(7)) && !loaded.speaks_for(TxId(6)));
    assert!(loaded.inserted() >= bloom.inserted() + 900);
}

#[test]
fn every_flipped_byte_is_refused() {
    let (header, groups) = image(&filled(0..1000, 1000));
    let bytes = header.encode();
    for at in 0..GROUP {
        let mut bad = bytes;
        bad[at] ^= 0x40;
        let expected = if at < 8 {
            BloomError::Magic
        } else {
            BloomError::Header
        };
        assert_eq!(BloomHeader::decode(&bad, header.image_len()), Err(expected));
        let loaded = Bloom::from_header(&header);
        let mut bad = groups[0];
        bad[at] ^= 1;
        assert_eq!(loaded.absorb(&header, 0, &bad), Err(BloomError::Group(0)));
        assert!(!loaded.is_ready());
    }
}

#[test]
fn groups_and_headers_that_do_not_belong_are_refused() {
    let bloom = filled(0..20_000, 20_000);
    let (header, groups) = image(&bloom);
    let loaded = Bloom::from_header(&header);
    assert_eq!(loaded.absorb(&header, 1, &groups[0]), Err(BloomError::Group(1)));
    let beyond = header.groups();
    assert_eq!(
        loaded.absorb(&header, beyond, &groups[0]),
        Err(BloomError::Group(beyond))
    );
    let older = bloom.encode_group(&bloom.header(TxId(8)), 0);
    assert_eq!(loaded.absorb(&header, 0, &older), Err(BloomError::Group(0)));
    for len in [
        0,
        1,
        GROUP as u64,
        header.image_len() - 1,
        header.image_len() + GROUP as u64,
        u64::MAX,
    ] {
        let error = BloomHeader::decode(&header.encode(), len).unwrap_err();
        assert_eq!(
            error,
            BloomError::Length {
                expected: header.image_len(),
                actual: len
            }
        );
    }
}

#[test]
fn forged_headers_are_refused_before_memory_is_taken() {
    let good = filled(0..1000, 1000).header(TxId(9)).encode();
    let forged = |at: usize, field: &[u8]| {
        let mut bytes = good;
        bytes[at..at + field.len()].copy_from_slice(field);
        let checksum = xxhash_rust::xxh3::xxh3_64(&bytes[..80]);
        bytes[80..88].copy_from_slice(&checksum.to_le_bytes());
        BloomHeader::decode(&bytes, 3 * GROUP as u64).unwrap_err()
    };
    assert_eq!(forged(8, &2u32.to_le_bytes()), BloomError::Version(2));
    assert_eq!(forged(12, &0u32.to_le_bytes()), BloomError::Parameters);
    assert_eq!(forged(12, &8u32.to_le_bytes()), BloomError::Parameters);
    assert_eq!(forged(24, &0u64.to_le_bytes()), BloomError::Parameters);
    assert!(matches!(
        forged(24, &u64::MAX.to_le_bytes()),
        BloomError::Length { .. }
    ));
    assert!(matches!(
        forged(24, &(1u64 << 40).to_le_bytes()),
        BloomError::Length { .. }
    ));
}

#[test]
fn images_keep_their_bytes() {
    let (header, groups) = image(&filled(0..1000, 1000));
    let checksum = |bytes: &[u8]| xxhash_rust::xxh3::xxh3_64(bytes);
    let found = (checksum(&header.encode()), checksum(&groups[0]));
    assert_eq!(
        found,
        (0xf350_a187_4f7a_a6bf, 0xa599_0dbd_3ba0_605a),
        "{found:#x?}"
    );
}
