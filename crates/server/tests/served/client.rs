//! A server in a thread, and clients of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;
use weald_server::{Config, Frame, Handle, Server};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that ends with the test.
pub(crate) struct Served {
    pub(crate) dir: TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// With the defaults, but nothing flushed.
    pub(crate) fn new() -> Served {
        Served::with(&[])
    }

    /// With settings.
    pub(crate) fn with(settings: &[(&str, &str)]) -> Served {
        Served::in_dir(tempfile::tempdir().expect("a directory"), settings)
    }

    /// On data that may be there.
    pub(crate) fn in_dir(dir: TempDir, settings: &[(&str, &str)]) -> Served {
        let mut config = Config::default();
        let path = dir.path().join("data");
        for (name, value) in [
            ("port", "0"),
            ("bind", "127.0.0.1"),
            ("durability", "none"),
            ("http", "no"),
            ("dir", path.to_str().expect("a path of letters")),
        ]
        .iter()
        .chain(settings)
        {
            config.set(name, value).expect("a setting of the test");
        }
        Served::start(dir, config)
    }

    /// With the settings of a file in the directory, and data beside it.
    pub(crate) fn of_file(dir: TempDir, name: &str) -> Served {
        let mut config = Config::default();
        config.read_file(&dir.path().join(name)).expect("a configuration");
        let data = dir.path().join("data");
        config
            .set("dir", data.to_str().expect("a path of letters"))
            .expect("a setting");
        Served::start(dir, config)
    }

    fn start(dir: TempDir, config: Config) -> Served {
        let server = Server::bind(config).expect("the server starts");
        let address = server.address().or(server.tls_address()).expect("it listens");
        let http = server.http_address();
        let handle = server.handle();
        let thread = std::thread::spawn(move || server.run().expect("it serves and ends"));
        Served {
            dir,
            address,
            http,
            handle,
            thread: Some(thread),
        }
    }

    /// The only node of a cluster.
    pub(crate) fn node(settings: &[(&str, &str)]) -> Served {
        let dir = tempfile::tempdir().expect("a directory");
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "a secret of enough bytes\n").expect("a file");
        let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&secret, owner_only).expect("it is ours");
        // Nobody else takes it in the moment between.
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a port is free").port().to_string();
        let mut all = vec![
            ("cluster-port", port.as_str()),
            ("cluster-secret-file", secret.to_str().expect("a path of letters")),
            ("replica-count", "1"),
            ("cluster-partition-bits", "2"),
        ];
        all.extend(settings);
        let served = Served::in_dir(dir, &all);
        let mut client = served.client();
        let began = std::time::Instant::now();
        while !matches!(client.run("SET first 1"), Frame::Simple(_)) {
            assert!(began.elapsed() < PATIENCE, "the node does not serve");
            std::thread::sleep(Duration::from_millis(20));
        }
        served
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(TcpStream::connect(self.address).expect("it accepts"))
    }

    /// Ends it; the directory with its data is left.
    pub(crate) fn end(mut self) -> TempDir {
        self.handle.end();
        self.thread
            .take()
            .expect("it runs")
            .join()
            .expect("it did not panic");
        std::mem::replace(&mut self.dir, tempfile::tempdir().expect("a directory"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.handle.end();
        if let Some(thread) = self.thread.take() {
            let joined = thread.join();
            if !std::thread::panicking() {
                joined.expect("it did not panic");
            }
        }
    }
}

/// A client.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    fn new(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Client {
            stream,
            input: Vec::new(),
        }
    }

    /// Sends a command, given as words with blanks between.
    pub(crate) fn send(&mut self, line: &str) {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.send_args(&words);
    }

    pub(crate) fn send_args(&mut self, args: &[&[u8]]) {
        let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            bytes.extend_from_slice(arg);
            bytes.extend_from_slice(b"\r\n");
        }
        self.send_bytes(&bytes);
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it takes what is sent");
    }

    /// The next frame that comes; `None` once the connection is closed.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, len)) = Frame::read(&self.input).expect("frames") {
                self.input.drain(..len);
                return Some(frame);
            }
            let mut buffer = [0; 65536];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(n) => self.input.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(e) => panic!("nothing came: {e}"),
            }
        }
    }

    pub(crate) fn read(&mut self) -> Frame {
        self.next().expect("the connection stays open")
    }

    pub(crate) fn run(&mut self, line: &str) -> Frame {
        self.send(line);
        self.read()
    }

    /// Runs a command whose reply is this, written as [`show`] writes it.
    #[track_caller]
    pub(crate) fn check(&mut self, line: &str, expected: &str) {
        assert_eq!(show(&self.run(line)), expected, "{line}");
    }

    /// The next frame is this.
    #[track_caller]
    pub(crate) fn expect(&mut self, expected: &str) {
        assert_eq!(show(&self.read()), expected);
    }

    /// Nothing more comes, and what is asked now is answered next.
    #[track_caller]
    pub(crate) fn expect_nothing(&mut self) {
        self.check("ECHO nothing-came-before", "nothing-came-before");
    }
}

/// A frame in short.
pub(crate) fn show(frame: &Frame) -> String {
    let list = |frames: &[Frame]| frames.iter().map(show).collect::<Vec<_>>().join(" ");
    match frame {
        Frame::Simple(text) => format!("+{text}"),
        Frame::Error(text) => format!("-{text}"),
        Frame::Integer(number) => format!(":{number}"),
        Frame::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Frame::Null => "null".to_owned(),
        Frame::Double(number) => format!(",{number}"),
        Frame::Boolean(yes) => format!("#{yes}"),
        Frame::BigNumber(digits) => format!("({digits}"),
        Frame::Array(frames) => format!("[{}]", list(frames)),
        Frame::Set(frames) => format!("~[{}]", list(frames)),
        Frame::Push(frames) => format!(">[{}]", list(frames)),
        Frame::Map(pairs) => {
            let pairs: Vec<String> = pairs
                .iter()
                .map(|(k, v)| format!("{}={}", show(k), show(v)))
                .collect();
            format!("{{{}}}", pairs.join(" "))
        }
        _ => "?".to_owned(),
    }
}
