//! Stands between two nodes and does what a network might: on TCP and UDP ports of the same number.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What happens to what passes towards the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// A bit is changed.
    Change,
    /// It is sent twice.
    Repeat,
    /// It comes after what follows it.
    Swap,
    /// It is lost.
    Swallow,
}

struct State {
    fault: Mutex<Fault>,
    struck: AtomicU64,
    /// What came towards the target, for whoever wants to say it again.
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
    datagrams: Vec<Vec<u8>>,
}

/// A relay, which lasts as long as the process.
pub(crate) struct Relay {
    pub(crate) address: Vec<u8>,
    state: Arc<State>,
}

impl Relay {
    pub(crate) fn before(target: &[u8]) -> Relay {
        let target: SocketAddr = std::str::from_utf8(target)
            .expect("text")
            .parse()
            .expect("an address");
        let (listener, socket) = loop {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            if let Ok(socket) = UdpSocket::bind(listener.local_addr().expect("bound")) {
                break (listener, socket);
            }
        };
        let address = listener.local_addr().expect("bound").to_string().into_bytes();
        let state = Arc::new(State {
            fault: Mutex::new(Fault::None),
            struck: AtomicU64::new(0),
            heard: Mutex::default(),
        });
        let (for_streams, for_datagrams) = (state.clone(), state.clone());
        thread::spawn(move || streams(&listener, target, &for_streams));
        thread::spawn(move || datagrams(&socket, target, &for_datagrams));
        Relay { address, state }
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.state.fault.lock().expect("no panics") = fault;
    }

    /// Says to the target, as somebody new, all that has passed towards it.
    pub(crate) fn say_again(&self, target: &[u8]) {
        let target = std::str::from_utf8(target).expect("text");
        let heard = self.state.heard.lock().expect("no panics");
        assert!(
            !heard.bytes.is_empty() || !heard.datagrams.is_empty(),
            "something has passed"
        );
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        for datagram in &heard.datagrams {
            let _ = socket.send_to(datagram, target);
        }
        if let Ok(mut stream) = TcpStream::connect(target) {
            // It may be closed before all is said.
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = stream.write_all(&heard.bytes);
            let _ = stream.shutdown(Shutdown::Write);
            let _ = io::copy(&mut stream, &mut io::sink());
        }
    }

    /// How often something was done to what passed.
    pub(crate) fn struck(&self) -> u64 {
        self.state.struck.load(Ordering::SeqCst)
    }
}

/// Applies the fault to a piece: what is sent in its place.
fn strike(state: &State, held: &mut Option<Vec<u8>>, mut piece: Vec<u8>) -> Vec<Vec<u8>> {
    let fault = *state.fault.lock().expect("no panics");
    if fault != Fault::None {
        state.struck.fetch_add(1, Ordering::SeqCst);
    }
    let before = held.take();
    let mut pieces = match fault {
        Fault::None => vec![piece],
        Fault::Swallow => vec![],
        Fault::Repeat => vec![piece.clone(), piece],
        Fault::Change => {
            let place = piece.len() / 2;
            piece[place] ^= 4;
            vec![piece]
        }
        Fault::Swap => {
            *held = Some(piece);
            vec![]
        }
    };
    pieces.extend(before);
    pieces
}

fn streams(listener: &TcpListener, target: SocketAddr, state: &Arc<State>) {
    for from in listener.incoming() {
        let from = from.expect("a connection");
        let Ok(to) = TcpStream::connect(target) else {
            continue;
        };
        let (back_from, back_to) = (to.try_clone().expect("cloned"), from.try_clone().expect("cloned"));
        let state = state.clone();
        thread::spawn(move || {
            pass(&from, &to, |held, piece| {
                state.heard.lock().expect("no panics").bytes.extend(&piece);
                strike(&state, held, piece)
            });
        });
        thread::spawn(move || pass(&back_from, &back_to, |_, piece| vec![piece]));
    }
}

fn pass(
    mut from: &TcpStream,
    mut to: &TcpStream,
    through: impl Fn(&mut Option<Vec<u8>>, Vec<u8>) -> Vec<Vec<u8>>,
) {
    let mut held = None;
    let mut buffer = vec![0; 1 << 16];
    let mut go = || -> io::Result<()> {
        loop {
            let len = from.read(&mut buffer)?;
            if len == 0 {
                return Ok(());
            }
            for piece in through(&mut held, buffer[..len].to_vec()) {
                to.write_all(&piece)?;
            }
        }
    };
    let _ = go();
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn datagrams(socket: &UdpSocket, target: SocketAddr, state: &Arc<State>) {
    let there = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let client = Arc::new(Mutex::new(None));
    let (back, back_there, to_client) = (
        socket.try_clone().expect("cloned"),
        there.try_clone().expect("cloned"),
        client.clone(),
    );
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let Ok(len) = back_there.recv(&mut buffer) else {
                continue;
            };
            let client: Option<SocketAddr> = *to_client.lock().expect("no panics");
            if let Some(client) = client {
                let _ = back.send_to(&buffer[..len], client);
            }
        }
    });
    let mut held = None;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let Ok((len, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        *client.lock().expect("no panics") = Some(from);
        let datagram = buffer[..len].to_vec();
        state.heard.lock().expect("no panics").datagrams.push(datagram);
        for piece in strike(state, &mut held, buffer[..len].to_vec()) {
            let _ = there.send_to(&piece, target);
        }
    }
}

/// Sends what nobody understands, by streams and datagrams, of many lengths.
pub(crate) fn garbage(target: &[u8]) {
    let target = std::str::from_utf8(target).expect("text");
    let mut random = weald_cluster_proto::Random::new(5);
    let mut noise = |len: usize| -> Vec<u8> { (0..len).map(|_| random.number() as u8).collect() };
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    for len in (1..1400).step_by(7) {
        let mut bytes = noise(len);
        // Half of them with a kind that there is.
        if len % 2 == 0 {
            bytes[0] = (len % 6) as u8;
        }
        let _ = socket.send_to(&bytes, target);
    }
    for len in [1, 10, 100, 1000, 100_000] {
        let Ok(mut stream) = TcpStream::connect(target) else {
            continue;
        };
        let _ = stream.set_write_timeout(Some(Duration::from_secs(1)));
        let _ = stream.write_all(&noise(len));
        let _ = stream.shutdown(Shutdown::Both);
    }
}
