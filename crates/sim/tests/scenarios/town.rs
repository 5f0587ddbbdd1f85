//! A cluster that a test talks to, step by step.

use std::collections::BTreeSet;

use weald_cluster_proto::{
    Bug, Bytes, ClientToken, Config, Error, Expect, Found, Level, Node, NodeId, Quorums, Reply, Request,
    Start, Version,
};
use weald_sim::{Telling, World, founding, tune};

/// A cluster that one client talks to.
pub(crate) struct Town {
    pub(crate) world: World,
    pub(crate) tokens: u64,
}

pub(crate) const SECOND: u64 = 1_000_000;

impl Town {
    pub(crate) fn new(nodes: u64, bugs: &[Bug]) -> Town {
        Town::tuned(nodes, 3, bugs, tune)
    }

    /// With so many partitions, as a power of two, and other times and bounds.
    pub(crate) fn tuned(nodes: u64, partition_bits: u8, bugs: &[Bug], tune: fn(&mut Config)) -> Town {
        let mut world = World::new(1, bugs.to_vec(), tune);
        let layout = founding(1..=nodes, partition_bits, Quorums::balanced(3));
        for id in 1..=nodes {
            world.add(NodeId(id), Start::Found(layout.clone()));
        }
        let mut town = Town { world, tokens: 0 };
        town.wait(2 * SECOND);
        town
    }

    pub(crate) fn wait(&mut self, time_us: u64) {
        self.world.run_until(self.world.time_us + time_us);
    }

    pub(crate) fn ask(&mut self, node: u64, request: Request) -> Reply {
        let token = self.begin(node, request);
        self.reply(token)
    }

    pub(crate) fn put(&mut self, node: u64, key: &str, value: Option<&str>) -> Result<Version, Error> {
        let items = vec![(bytes(key), value.map(bytes))];
        let request = Request::Put {
            items,
            ttl_ms: None,
            write: Level::Cluster,
            durable: true,
        };
        match self.ask(node, request) {
            Reply::Written(mut results) => results.remove(0),
            Reply::Failed(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn get(&mut self, node: u64, key: &str) -> Result<Found, Error> {
        let request = Request::Get {
            keys: vec![bytes(key)],
            read: Level::Cluster,
        };
        match self.ask(node, request) {
            Reply::Values(mut results) => results.remove(0),
            Reply::Failed(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn value(&mut self, node: u64, key: &str) -> Result<Option<Bytes>, Error> {
        self.get(node, key).map(|found| found.value)
    }

    /// Nothing passes between these two groups.
    pub(crate) fn cut(&mut self, here: &[u64], there: &[u64]) {
        for &a in here {
            for &b in there {
                self.world.network.blocked.insert((NodeId(a), NodeId(b)));
                self.world.network.blocked.insert((NodeId(b), NodeId(a)));
            }
        }
    }

    pub(crate) fn join_up(&mut self) {
        self.world.network.blocked = BTreeSet::new();
    }

    /// Lets time go by until a message of that kind has been sent between these two; it is still on its way then.
    pub(crate) fn wait_for_message(&mut self, from: u64, to: u64, kind: &str) {
        self.world.transcript = Some(Vec::new());
        let line = format!("{from} -> {to}: {kind}");
        for _ in 0..200_000 {
            self.wait(100);
            let lines = self.world.transcript.as_ref().expect("it is written");
            if lines.iter().any(|written| written.ends_with(&line)) {
                self.world.transcript = None;
                return;
            }
        }
        panic!("it was never sent: {line}");
    }

    /// Begins to set a key through its register, and doesn't wait.
    pub(crate) fn begin_set(&mut self, node: u64, key: &str, value: Option<&str>) -> ClientToken {
        let request = Request::CompareAndSet {
            key: bytes(key),
            expect: Expect::Anything,
            value: value.map(bytes),
            ttl_ms: None,
        };
        self.begin(node, request)
    }

    pub(crate) fn reply(&mut self, token: ClientToken) -> Reply {
        for _ in 0..1000 {
            self.wait(10_000);
            while let Some((_, to, reply)) = self.world.replies.pop_front() {
                if to == token {
                    return reply;
                }
            }
        }
        panic!("no answer in ten seconds");
    }

    /// What a register was set to, as the answer says.
    pub(crate) fn set(&mut self, node: u64, key: &str, value: Option<&str>) -> Found {
        let token = self.begin_set(node, key, value);
        match self.reply(token) {
            Reply::Compared { swapped: true, found } => found,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn tell(&mut self) {
        self.world.telling = Telling::All;
        self.world.transcript = Some(Vec::new());
    }

    /// What happened since, in a few words, of these kinds only; what is repeated is told once.
    pub(crate) fn story(&mut self, kinds: &[&str]) -> String {
        let lines = self.world.transcript.take().expect("it was told");
        let mut story: Vec<(&str, String)> = Vec::new();
        for line in lines {
            let (_, what) = line.trim_start().split_once(' ').expect("a time first");
            let kind = what.split_once(": ").map_or(what, |(_, body)| body);
            let kind = kind.split([' ', '(']).next().unwrap_or(kind);
            let Some(&kind) = kinds.iter().find(|&&known| known == kind) else {
                continue;
            };
            let who = what.split_once(": ").map_or("", |(who, _)| who);
            let origin = ["Hint", "Reader", "Repair"]
                .into_iter()
                .find(|origin| what.contains(&format!("origin: {origin}")))
                .map_or(String::new(), |origin| format!(" ({origin})"));
            let whom = what
                .split_once(&format!("{kind}(NodeId("))
                .and_then(|(_, rest)| rest.split_once(')'))
                .map_or(String::new(), |(whom, _)| format!(" {whom}"));
            let line = format!("{who}: {kind}{origin}{whom}");
            if !story.iter().any(|(_, told)| *told == line) {
                story.push((kind, line));
            }
        }
        // What happens at the same time is told in order.
        story
            .chunk_by_mut(|(one, _), (other, _)| one == other)
            .for_each(<[_]>::sort_unstable);
        let lines: Vec<String> = story.into_iter().map(|(_, line)| line).collect();
        lines.join("\n")
    }

    /// The nodes that own a key, of which there are three.
    pub(crate) fn owners(&self, key: &str) -> [u64; 3] {
        let layout = self.world.newest_layout().expect("there is one");
        let owners = layout.readers(layout.partition_of(key.as_bytes()));
        [0, 1, 2].map(|place: usize| owners[place].node.0)
    }

    pub(crate) fn node(&self, id: u64) -> &Node {
        let node = self.world.machines[&NodeId(id)].node.as_ref();
        node.expect("it is up")
    }

    /// Begins a story in which everything that matters is told in words; there is one partition.
    pub(crate) fn of_story(nodes: u64) -> Town {
        let mut town = Town::tuned(nodes, 0, &[], tune);
        town.world.telling = Telling::Words;
        town.world.transcript = Some(Vec::new());
        town
    }

    /// Asks, and doesn't wait.
    pub(crate) fn begin(&mut self, node: u64, request: Request) -> ClientToken {
        self.tokens += 1;
        let token = ClientToken(self.tokens);
        assert!(
            self.world.request(NodeId(node), token, request),
            "node {node} is down"
        );
        token
    }

    /// Says what comes next.
    pub(crate) fn say(&mut self, what: &str) {
        let told = self.world.transcript.as_mut().expect("it is a story");
        told.push(format!("\n{what}\n"));
    }

    /// Compares what was told with the file of that name; `WEALD_BLESS=1` writes it. What is repeated is told once after each thing that was said, and lines with one of `hidden` in them are not told.
    pub(crate) fn check_story(&mut self, name: &str, hidden: &[&str]) {
        let lines = self.world.transcript.take().expect("it is a story");
        let mut told = String::new();
        let mut known = BTreeSet::new();
        for line in lines {
            let what = line
                .trim_start()
                .split_once(' ')
                .map_or("", |(_, what)| what)
                .to_owned();
            if line.starts_with('\n') {
                known.clear();
            } else if hidden.iter().any(|hidden| line.contains(hidden)) || !known.insert(what) {
                continue;
            }
            told.push_str(&line);
            told.push('\n');
        }
        let told = told.trim_start_matches('\n');
        let path = format!(
            "{}/tests/scenarios/stories/{name}.txt",
            env!("CARGO_MANIFEST_DIR")
        );
        if std::env::var_os("WEALD_BLESS").is_some() {
            std::fs::write(&path, told).unwrap();
        }
        let known = std::fs::read_to_string(&path).unwrap();
        assert!(told == known, "it goes differently now, see {path}:\n{told}");
    }

    pub(crate) fn wait_for(&mut self, what: &str, is: impl Fn(&World) -> bool) {
        for _ in 0..2000 {
            if is(&self.world) {
                return;
            }
            self.wait(20_000);
        }
        panic!("it never happened: {what}");
    }
}

pub(crate) fn bytes(text: &str) -> Bytes {
    text.as_bytes().into()
}
