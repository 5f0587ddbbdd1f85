//! The allocator: what it gives, takes, refuses and gives back.

use std::collections::HashMap;

use weald_hot::{Error, Object, Region, RegionOptions};

fn region(options: &RegionOptions) -> Region {
    Region::anonymous(options).unwrap()
}

fn sized(capacity: u64) -> Region {
    region(&RegionOptions {
        capacity,
        ..Default::default()
    })
}

#[test]
fn objects_of_every_size_keep_their_bytes_and_don_t_overlap() {
    let region = sized(64 << 20);
    let session = region.join("test").unwrap();
    let mut objects = HashMap::new();
    for size in (0..300).chain((300..100_000).step_by(777)) {
        let align = 1 << (size % 13);
        let object = session.alloc(size, align, (size % 1000) as u16).unwrap();
        assert_eq!(object.offset() % align, 0);
        let bytes: Vec<u8> = (0..size).map(|at| (at * 7 + size) as u8).collect();
        session.write(object, 0, &bytes).unwrap();
        objects.insert(object, bytes);
    }
    for (&object, bytes) in &objects {
        assert_eq!(
            session.size_and_tag(object).unwrap(),
            (bytes.len() as u64, (bytes.len() % 1000) as u16)
        );
        session.verify_object(object).unwrap();
        let mut back = vec![0; bytes.len()];
        session.read(object, 0, &mut back).unwrap();
        assert_eq!(&back, bytes);
        if bytes.len() > 20 {
            let mut part = [0; 9];
            session.read(object, 11, &mut part).unwrap();
            assert_eq!(part, bytes[11..20]);
        }
        assert!(matches!(
            session.read(object, bytes.len() as u64, &mut [0]),
            Err(Error::Invalid(_))
        ));
    }
    assert_eq!(session.verify().unwrap().objects, objects.len() as u64);
    for object in objects.into_keys() {
        session.free(object).unwrap();
    }
    session.trim().unwrap();
    assert_eq!(session.verify().unwrap().objects, 0);
    assert_eq!(region.info().unwrap().volumes, 0);
}

#[test]
fn a_second_free_is_refused_whatever_happened_between() {
    for paranoid in [false, true] {
        let region = region(&RegionOptions {
            capacity: 16 << 20,
            paranoid,
            ..Default::default()
        });
        let session = region.join("test").unwrap();
        let object = session.alloc(50, 0, 1).unwrap();
        session.free(object).unwrap();
        assert!(matches!(session.free(object), Err(Error::Invalid(_))));
        session.trim().unwrap();
        assert!(session.free(object).is_err());
    }
}

#[test]
fn what_is_no_object_is_refused() {
    let region = region(&RegionOptions {
        capacity: 16 << 20,
        paranoid: true,
        ..Default::default()
    });
    let session = region.join("test").unwrap();
    let object = session.alloc(500, 0, 1).unwrap();
    session.write(object, 0, &[0x5c; 500]).unwrap();
    for offset in (0..region.info().unwrap().len + 4096).step_by(48) {
        let wrong = Object::at(offset);
        if wrong != object {
            assert!(session.free(wrong).is_err(), "{offset}");
            assert!(session.verify_object(wrong).is_err(), "{offset}");
        }
    }
    assert!(session.free(Object::at(u64::MAX - 15)).is_err());
    session.free(object).unwrap();
    assert!(matches!(session.alloc(1 << 20, 0, 0), Err(Error::Invalid(_))));
    assert!(matches!(session.alloc(u64::MAX, 0, 0), Err(Error::Invalid(_))));
    assert!(matches!(session.alloc(u64::MAX, 4096, 0), Err(Error::Invalid(_))));
    assert!(matches!(session.alloc(8, 3, 0), Err(Error::Invalid(_))));
    assert!(matches!(session.alloc(8, 8192, 0), Err(Error::Invalid(_))));
    assert!(matches!(session.alloc(8, 8, 0xffff), Err(Error::Invalid(_))));
    session.verify().unwrap();
}

#[test]
fn an_object_belongs_to_its_session_until_it_is_shared() {
    let region = sized(16 << 20);
    let other = region.join("other").unwrap();
    let session = region.join("test").unwrap();
    let kept = session.alloc(100, 0, 7).unwrap();
    let given = session.alloc(100, 0, 8).unwrap();
    assert!(matches!(other.free(kept), Err(Error::Invalid(_))));
    assert!(matches!(other.share(kept), Err(Error::Invalid(_))));
    session.share(given).unwrap();
    drop(session);
    assert_eq!(other.verify().unwrap().objects, 1);
    assert!(other.size_and_tag(kept).is_err());
    assert_eq!(other.size_and_tag(given).unwrap(), (100, 8));
    other.free(given).unwrap();
    other.trim().unwrap();
    assert_eq!(region.info().unwrap().volumes, 0);
}

#[test]
fn an_object_of_64_bytes_takes_at_most_96_of_memory() {
    let region = sized(128 << 20);
    let session = region.join("test").unwrap();
    let count = 500_000;
    for _ in 0..count {
        session.alloc(64, 0, 1).unwrap();
    }
    let bytes = region.info().unwrap().volumes << 20;
    assert!(bytes / count <= 96, "{}", bytes / count);
}

#[test]
fn a_region_can_be_filled_and_emptied_for_ever() {
    let region = sized(8 << 20);
    let session = region.join("test").unwrap();
    let mut counts = Vec::new();
    for size in [40, 4000, 100_000, 40, 700_000, 4000, 40] {
        let mut objects = Vec::new();
        let full = loop {
            match session.alloc(size, 0, 1) {
                Ok(object) => objects.push(object),
                Err(error) => break error,
            }
        };
        assert!(matches!(full, Error::Full(_)), "{full}");
        assert!(
            objects.len() as u64 * (size + 24) > 5 << 20,
            "{size}: {}",
            objects.len()
        );
        counts.push((size, objects.len()));
        for object in objects {
            session.free(object).unwrap();
        }
    }
    assert_eq!(counts[0], counts[3]);
    assert_eq!(counts[0], counts[6]);
    assert_eq!(counts[1], counts[5]);
    session.verify().unwrap();
}

#[test]
fn threads_free_what_others_allocated() {
    let region = sized(64 << 20);
    let (sender, receiver) = std::sync::mpsc::sync_channel::<Object>(1000);
    let giver = {
        let region = region.clone();
        std::thread::spawn(move || {
            let session = region.join("giver").unwrap();
            for n in 0..200_000u64 {
                let object = session.alloc(n % 500, 0, 3).unwrap();
                session.share(object).unwrap();
                sender.send(object).unwrap();
            }
        })
    };
    let session = region.join("taker").unwrap();
    for object in receiver {
        session.free(object).unwrap();
    }
    giver.join().unwrap();
    assert_eq!(session.verify().unwrap().objects, 0);
    session.trim().unwrap();
    assert_eq!(region.info().unwrap().volumes, 0);
}

#[test]
fn of_two_who_free_an_object_at_once_a_paranoid_region_tells_one() {
    let region = region(&RegionOptions {
        capacity: 16 << 20,
        paranoid: true,
        ..Default::default()
    });
    let maker = region.join("maker").unwrap();
    let objects: Vec<Object> = (0..2_000)
        .map(|_| {
            let object = maker.alloc(50, 0, 1).unwrap();
            maker.share(object).unwrap();
            object
        })
        .collect();
    let together = std::sync::Barrier::new(2);
    let free_all = |name: &str| -> Vec<bool> {
        let session = region.join(name).unwrap();
        let chunk = |objects: &[Object]| {
            together.wait();
            let freed = objects.iter().map(|object| match session.free(*object) {
                Ok(()) => true,
                Err(Error::Invalid(_)) => false,
                Err(error) => panic!("{error}"),
            });
            freed.collect::<Vec<bool>>()
        };
        objects.chunks(20).flat_map(chunk).collect()
    };
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| free_all("one"));
        let other = scope.spawn(|| free_all("other"));
        (one.join().unwrap(), other.join().unwrap())
    });
    for (at, (one, other)) in one.into_iter().zip(other).enumerate() {
        assert!(one != other, "object {at}: {one}, {other}");
    }
    maker.trim().unwrap();
    assert_eq!(maker.verify().unwrap().objects, 0);
}

#[test]
fn volumes_are_verified_one_by_one_as_well() {
    let region = sized(16 << 20);
    let session = region.join("test").unwrap();
    for n in 0..2_000u32 {
        session.share(session.alloc(1_000, 0, 1).unwrap()).unwrap();
        session.put(&n.to_le_bytes(), &[1; 500]).unwrap();
    }
    let all = session.verify().unwrap();
    let info = region.info().unwrap();
    assert!(info.volumes > 1);
    let each: Vec<_> = (0..info.len / info.volume_size)
        .map_while(|volume| session.verify_volume(volume).ok())
        .collect();
    assert!(each.len() as u64 >= info.volumes);
    assert!(each.iter().filter(|report| report.objects > 0).count() > 1);
    assert_eq!(each.iter().map(|report| report.objects).sum::<u64>(), all.objects);
    assert_eq!(each.iter().map(|report| report.entries).sum::<u64>(), all.entries);
    assert!(matches!(session.verify_volume(u64::MAX), Err(Error::Invalid(_))));
}
