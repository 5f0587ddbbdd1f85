//! Views: against a model, under load, and when their holders die.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use weald_hot::{Change, Error, Region, RegionOptions, Session, View};

use crate::support::{Random, Scratch, anonymous, assignment, kill, spawn};

fn options() -> RegionOptions {
    RegionOptions {
        capacity: 64 << 20,
        ordered: true,
        views: true,
        ..Default::default()
    }
}

#[test]
fn only_a_region_made_for_it_has_views_and_a_session_four_of_them() {
    let region = anonymous(16 << 20);
    assert!(matches!(
        region.join("test").unwrap().view(),
        Err(Error::Invalid(_))
    ));
    let both = RegionOptions {
        cache_bytes: 1 << 20,
        ..options()
    };
    assert!(matches!(Region::anonymous(&both), Err(Error::Invalid(_))));
    let session = Region::anonymous(&options()).unwrap().join("test").unwrap();
    let views: Vec<View<'_>> = (0..4).map(|_| session.view().unwrap()).collect();
    assert!(matches!(session.view(), Err(Error::Full(_))));
    drop(views);
    session.view().unwrap();
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn agree(view: &View<'_>, model: &Model, random: &mut Random) {
    let all: Vec<_> = model
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let mut scanned: Vec<_> = view.scan().map(Result::unwrap).collect();
    scanned.sort();
    assert_eq!(scanned, all);
    let ranged: Vec<_> = view.range(..).unwrap().map(Result::unwrap).collect();
    assert_eq!(ranged, all);
    let backwards: Vec<_> = view.range(..).unwrap().rev().map(Result::unwrap).collect();
    assert!(backwards.iter().rev().eq(&all));
    for _ in 0..50 {
        let key = key(random.below(300));
        assert_eq!(view.get(&key).unwrap().as_ref(), model.get(&key));
        assert_eq!(view.contains(&key).unwrap(), model.contains_key(&key));
        let value = view.get_ref(&key).unwrap().map(|value| value.to_vec());
        assert_eq!(value.as_ref(), model.get(&key));
    }
    // More than are looked up at once.
    let keys: Vec<_> = (0..100).map(|_| key(random.below(300))).collect();
    let mut met = 0;
    view.get_many(&keys, |at, value| {
        assert_eq!(at, met);
        assert_eq!(value, model.get(&keys[at]).map(Vec::as_slice));
        met += 1;
    })
    .unwrap();
    assert_eq!(met, keys.len());
}

fn key(n: u64) -> Vec<u8> {
    format!("key {n}").into_bytes()
}

#[test]
fn views_agree_with_copies_of_a_model() {
    let region = Region::anonymous(&options()).unwrap();
    let session = region.join("test").unwrap();
    let other = region.join("other").unwrap();
    let mut random = Random(5);
    let mut model = Model::new();
    let mut views: Vec<(View<'_>, Model)> = Vec::new();
    for round in 0..4000u64 {
        // More and more keys, so that the table grows under the views.
        let key = key(random.below(20 + round / 10));
        let value = round.to_le_bytes().repeat(1 + round as usize % 5);
        let writer = if round % 3 == 0 { &other } else { &session };
        match random.below(10) {
            0..5 => {
                writer.put(&key, &value).unwrap();
                model.insert(key, value);
            }
            5..8 => {
                assert_eq!(writer.remove(&key).unwrap(), model.remove(&key).is_some());
            }
            8 => {
                assert_eq!(writer.insert(&key, &value).unwrap(), !model.contains_key(&key));
                model.entry(key).or_insert(value);
            }
            _ if views.len() < 4 => views.push((session.view().unwrap(), model.clone())),
            _ => {
                let (view, then) = views.swap_remove(random.below(4) as usize);
                agree(&view, &then, &mut random);
            }
        }
        assert_eq!(session.len().unwrap(), model.len() as u64);
    }
    for (view, then) in views.drain(..) {
        agree(&view, &then, &mut random);
    }
    let report = session.verify().unwrap();
    assert_eq!((report.versions, report.entries), (0, model.len() as u64));
    let nodes = report.nodes;
    assert_eq!(nodes, report.entries, "removed keys have left the index too");
    for key in model.keys() {
        session.remove(key).unwrap();
    }
    drop(other);
    session.trim().unwrap();
    let report = session.verify().unwrap();
    assert_eq!((report.versions, report.entries, report.nodes), (0, 0, 0));
}

#[test]
fn a_view_keeps_one_old_value_for_each_key_and_gives_it_back() {
    let region = Region::anonymous(&options()).unwrap();
    let session = region.join("test").unwrap();
    for n in 0..100 {
        session.put(&key(n), b"first").unwrap();
    }
    let early = session.view().unwrap();
    for round in 0..50u64 {
        for n in 0..100 {
            session.put(&key(n), &round.to_le_bytes()).unwrap();
        }
    }
    assert_eq!(session.verify().unwrap().versions, 100);
    let late = session.view().unwrap();
    for n in 0..100 {
        assert!(session.remove(&key(n)).unwrap());
    }
    // For each key what the early one sees, what the late one sees, and that it is gone.
    let report = session.verify().unwrap();
    assert_eq!((report.versions, report.entries), (300, 0));
    drop(early);
    session.trim().unwrap();
    assert_eq!(late.get(&key(7)).unwrap().unwrap(), 49u64.to_le_bytes());
    drop(late);
    let report = session.verify().unwrap();
    assert_eq!((report.versions, report.nodes), (0, 0));
}

#[test]
fn what_expires_is_there_for_views_of_the_time_before() {
    let session = Region::anonymous(&options()).unwrap().join("test").unwrap();
    session
        .put_expiring(b"k", b"v", std::time::Duration::from_millis(60))
        .unwrap();
    let before = session.view().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(80));
    let after = session.view().unwrap();
    assert_eq!(session.get(b"k").unwrap(), None);
    assert_eq!(after.get(b"k").unwrap(), None);
    assert_eq!(session.remove_expired().unwrap(), 1);
    // If the machine was too slow to take the view in time, it was gone before.
    if let Some(value) = before.get(b"k").unwrap() {
        assert_eq!(value, b"v");
    }
}

const ACCOUNTS: u64 = 24;
const START: i64 = 1000;

/// An account: what it has, what it sent and the other may not have got yet, what it got and the other may not have ticked off.
///
/// A transfer takes four steps, each of one account, after any of which the process may die. What an account has, with what is
/// under way to others, adds up at every instant.
#[derive(Debug, Default)]
struct Account {
    balance: i64,
    sent: Vec<(u64, u64, i64)>,
    got: Vec<u64>,
}

impl Account {
    fn decode(bytes: &[u8]) -> Account {
        let mut words = bytes
            .chunks(8)
            .map(|word| u64::from_le_bytes(word.try_into().expect("whole words")));
        let mut next = || words.next().expect("a whole account");
        let balance = next() as i64;
        let sent = (0..next()).map(|_| (next(), next(), next() as i64)).collect();
        let got = (0..next()).map(|_| next()).collect();
        Account { balance, sent, got }
    }

    fn encode(&self) -> Vec<u8> {
        let mut words = vec![self.balance as u64, self.sent.len() as u64];
        for &(id, to, amount) in &self.sent {
            words.extend([id, to, amount as u64]);
        }
        words.push(self.got.len() as u64);
        words.extend(&self.got);
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

fn account(n: u64) -> [u8; 8] {
    n.to_be_bytes()
}

fn change(session: &Session, n: u64, step: impl Fn(&mut Account)) {
    let done = session.update(&account(n), |bytes| {
        let mut account = Account::decode(bytes.expect("accounts stay"));
        step(&mut account);
        Change::Put(account.encode().into())
    });
    assert!(done.unwrap());
}

fn transfer(session: &Session, random: &mut Random) {
    let (from, to) = (random.below(ACCOUNTS), random.below(ACCOUNTS));
    let (id, amount) = (random.next(), random.below(100) as i64);
    change(session, from, |account| {
        account.balance -= amount;
        account.sent.push((id, to, amount));
    });
    change(session, to, |account| {
        account.balance += amount;
        account.got.push(id);
    });
    change(session, from, |account| account.sent.retain(|sent| sent.0 != id));
    change(session, to, |account| account.got.retain(|got| *got != id));
}

fn open_accounts(session: &Session) {
    for n in 0..ACCOUNTS {
        let account_of = Account {
            balance: START,
            ..Default::default()
        };
        session.put(&account(n), &account_of.encode()).unwrap();
    }
}

/// All money, with what is under way.
fn total(accounts: &[Account]) -> i64 {
    let mut sum = 0;
    for account in accounts {
        sum += account.balance;
        for &(id, to, amount) in &account.sent {
            if !accounts[to as usize].got.contains(&id) {
                sum += amount;
            }
        }
    }
    sum
}

fn in_order(mut items: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<Account> {
    items.sort();
    assert_eq!(items.len() as u64, ACCOUNTS, "every account once");
    items.iter().map(|(_, value)| Account::decode(value)).collect()
}

fn read_in_view(view: &View<'_>, way: u64) -> Vec<Account> {
    match way % 3 {
        0 => (0..ACCOUNTS)
            .map(|n| Account::decode(&view.get(&account(n)).unwrap().unwrap()))
            .collect(),
        1 => in_order(view.scan().map(Result::unwrap).collect()),
        _ => in_order(view.range(..).unwrap().map(Result::unwrap).collect()),
    }
}

#[test]
fn transfers_always_sum_up_in_a_view_under_load() {
    let region = Region::anonymous(&options()).unwrap();
    let session = region.join("reader").unwrap();
    open_accounts(&session);
    let (stop, transfers, torn) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let (region, stop, transfers) = (&region, &stop, &transfers);
            scope.spawn(move || {
                let session = region.join("writer").unwrap();
                let mut random = Random(seed);
                while !stop.load(Ordering::Relaxed) {
                    transfer(&session, &mut random);
                    transfers.fetch_add(1, Ordering::Relaxed);
                    // Other keys come and go, so that the table grows beside it.
                    let n = random.below(50_000);
                    session
                        .put(&[b"\xff", &n.to_be_bytes()[..]].concat(), b"x")
                        .unwrap();
                    session.remove(&[b"\xff", &n.to_be_bytes()[..]].concat()).unwrap();
                }
            });
        }
        let mut way = 0;
        // The canary: read one by one without a view, the accounts don't sum up for long.
        while way < 3000 || torn.load(Ordering::Relaxed) == 0 || transfers.load(Ordering::Relaxed) < 3000 {
            let view = session.view().unwrap();
            let accounts = match way % 3 {
                0 => read_in_view(&view, 0),
                1 => in_order(
                    view.scan()
                        .map(Result::unwrap)
                        .filter(|(key, _)| key[0] != 0xff)
                        .collect(),
                ),
                _ => in_order(view.range(..&b"\xff"[..]).unwrap().map(Result::unwrap).collect()),
            };
            assert_eq!(total(&accounts), START * ACCOUNTS as i64, "way {way}");
            drop(view);
            let loose: Vec<Account> = (0..ACCOUNTS)
                .map(|n| Account::decode(&session.get(&account(n)).unwrap().unwrap()))
                .collect();
            torn.fetch_add(
                u64::from(total(&loose) != START * ACCOUNTS as i64),
                Ordering::Relaxed,
            );
            way += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    session.trim().unwrap();
    let report = session.verify().unwrap();
    assert_eq!((report.versions, report.entries), (0, ACCOUNTS));
}

/// Transfers until it is killed.
#[test]
#[ignore = "run by the test below in processes of its own"]
fn bank() {
    let Some((path, seed)) = assignment() else {
        return;
    };
    let session = Region::open(&path).unwrap().join("bank").unwrap();
    let mut random = Random(seed);
    loop {
        transfer(&session, &mut random);
        if random.below(5) == 0 {
            let view = session.view().unwrap();
            assert_eq!(
                total(&read_in_view(&view, random.next())),
                START * ACCOUNTS as i64
            );
        }
    }
}

#[test]
fn transfers_sum_up_though_those_who_make_them_are_killed() {
    let scratch = Scratch::new("bank");
    let region = Region::create(&scratch.0, &options()).unwrap();
    let session = region.join("reader").unwrap();
    open_accounts(&session);
    let mut random = Random(11);
    for round in 0..25 {
        println!("round {round}");
        let banks = [(); 2].map(|()| spawn("views::bank", &scratch.0, random.next()));
        let mut views = 0;
        while views < 40 || region.info().unwrap().sessions < 3 {
            let view = session.view().unwrap();
            assert_eq!(
                total(&read_in_view(&view, views)),
                START * ACCOUNTS as i64,
                "round {round}"
            );
            views += 1;
        }
        banks.into_iter().for_each(kill);
        let view = session.view().unwrap();
        assert_eq!(total(&read_in_view(&view, round)), START * ACCOUNTS as i64);
        drop(view);
        session.recover().unwrap();
        assert_eq!(session.verify().unwrap().versions, 0, "round {round}");
    }
}

/// Takes a view and keeps it until it is killed.
#[test]
#[ignore = "run by the test below in a process of its own"]
fn holder() {
    let Some((path, _)) = assignment() else {
        return;
    };
    let session = Region::open(&path).unwrap().join("holder").unwrap();
    let view = session.view().unwrap();
    assert_eq!(view.get(b"state").unwrap().unwrap(), b"first");
    session.put(b"state", b"held").unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn the_view_of_a_killed_holder_is_given_up() {
    let scratch = Scratch::new("holder");
    let region = Region::create(&scratch.0, &options()).unwrap();
    let session = region.join("writer").unwrap();
    session.put(b"state", b"first").unwrap();
    let holder = spawn("views::holder", &scratch.0, 0);
    while session.get(b"state").unwrap().unwrap() == b"first" {
        std::thread::yield_now();
    }
    assert_eq!(session.verify().unwrap().versions, 1);
    kill(holder);
    // Nobody joins and nothing is full: whoever keeps things for a view asks now and then whether its holder lives.
    for n in 0..2000u64 {
        session.put(b"state", &n.to_le_bytes()).unwrap();
    }
    assert_eq!(session.verify().unwrap().versions, 0);
    assert_eq!(region.info().unwrap().recoveries, 1);
}
