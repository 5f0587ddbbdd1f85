//! A server from its configuration to its end.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use mio::{Poll, Waker};
use weald_engine::{Database, DatabaseOptions, SyncPolicy};

use crate::acl::{Users, file};
use crate::cluster::{self, Cluster};
use crate::config::{Config, ConfigError, Settings};
use crate::handle::Handle;
use crate::http::{Http, Serving, Unserved};
use crate::net::{Bound, EventLoop, Listener, Listening, Message, Places, Tls, WAKER, now_ms};
use crate::registry::Renames;
use crate::state::{Ending, State};

/// The file in the directory of the data.
const DATABASE: &str = "data.weald";

/// The file of a node's replica in it.
const REPLICA: &str = "replica.weald";

/// A transaction of as much goes past the log, and its commit waits for the disk whatever was asked for. What many clients send at once should not.
const BULK_BYTES_MAX: u64 = 64 << 20;

/// A server that has its data and its sockets, and does not serve yet.
///
/// Everything that can fail at a start has happened: what it prints as its addresses is where clients reach it, and the first `PING` is answered after recovery.
pub struct Server {
    poll: Poll,
    listeners: Vec<Listener>,
    messages: Receiver<Message>,
    handle: Handle,
    state: State,
    db: Arc<Database>,
    bound: Vec<Bound>,
    http: Option<Serving>,
}

/// Why a server does not start, or has ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its configuration can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its data can't be opened.
    #[error("{}: {source}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// What the engine says.
        source: Box<weald_engine::Error>,
    },
    /// It can't be a node of a cluster.
    #[error("can't {what}: {source}")]
    Cluster {
        /// What was tried.
        what: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It can't listen.
    #[error("can't listen on {place}: {source}")]
    Listen {
        /// Where.
        place: String,
        /// What the system says.
        source: io::Error,
    },
    /// The system failed otherwise.
    #[error("can't {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system says.
        source: io::Error,
    },
}

impl Server {
    /// Opens the data, which recovers them after a crash, and listens. HTTP is served from the first, so that probes are told how far it is.
    pub fn bind(mut config: Config) -> Result<Server, StartError> {
        config.read_secrets()?;
        let is_node = cluster::is_wanted(&config);
        if is_node {
            config.set("databases", "1")?;
        }
        let settings = config.settings()?;
        let places = Places::of(&config)?;
        places.refuse_public(&config)?;
        let tls = Tls::of(&config)?;
        let users = users(&config)?;
        let renames = Renames::of(&config)?;
        let system = |what: &str| {
            let what = what.to_owned();
            move |source| StartError::System { what, source }
        };
        let poll = Poll::new().map_err(system("watch sockets"))?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(system("watch sockets"))?;
        let (sender, messages) = channel();
        let stats = Arc::default();
        let waker = Arc::new(waker);
        let handle = Handle::new(sender, waker.clone(), Arc::clone(&stats));
        let (http, unserved) = match Http::bind(&config, tls.as_ref())? {
            Some(Ok(http)) => (
                Some(http.serve(handle.clone()).map_err(system("serve HTTP"))?),
                None,
            ),
            Some(Err(unserved)) => (None, Some(unserved)),
            None => (None, None),
        };
        let dir = PathBuf::from(config.text("dir"));
        refuse_other_use(&dir, is_node)?;
        let db = Arc::new(if is_node {
            Database::in_memory().map_err(|e| data_error(&dir, e))?
        } else {
            open(&dir, &config, &settings)?
        });
        raise_file_limit(settings.maxclients);
        let anew = |listening| match listening {
            Listening::Anew(listener) => Some(listener),
            Listening::Already(_) => None,
        };
        let listening = places.listen(&config, tls.as_ref(), &[])?;
        let listeners: Vec<Listener> = listening.into_iter().filter_map(anew).collect();
        let bound = listeners
            .iter()
            .map(Listener::bound)
            .collect::<io::Result<Vec<_>>>();
        let bound = bound.map_err(system("find out where it listens"))?;
        let mut state = State::new(db.clone(), config, settings, now_ms());
        state.stats = stats;
        state.written.users = users.declarations();
        state.users = users;
        state.renames = renames;
        state.tls = tls;
        state.dir = std::path::absolute(&dir).unwrap_or(dir);
        state.is_bound_to(bound.clone());
        if is_node {
            let node = cluster::start(&state.config, &state.dir)?;
            let patience = Duration::from_millis(state.config.number("cluster-request-timeout-ms") as u64);
            let cluster = Cluster::new(node, waker, patience);
            state.cluster = Some(cluster.map_err(system("start a thread"))?);
        }
        if let Some(Unserved(why)) = unserved {
            log::warn!("{why}");
        }
        // What is asked from now on is answered once it runs.
        handle.serves();
        Ok(Server {
            poll,
            listeners,
            messages,
            handle,
            state,
            db,
            bound,
            http,
        })
    }

    /// Whether a server would take the configuration: what [`bind`](Self::bind) refuses before it opens or listens, certificates and the file of users included.
    ///
    /// ```
    /// let mut config = weald_server::Config::default();
    /// assert!(weald_server::Server::check(&config).is_ok());
    /// config.set("bind", "0.0.0.0")?;
    /// assert!(weald_server::Server::check(&config).is_err(), "without a password and TLS");
    /// # Ok::<(), weald_server::ConfigError>(())
    /// ```
    pub fn check(config: &Config) -> Result<(), StartError> {
        let mut config = config.clone();
        config.read_secrets()?;
        config.settings()?;
        Places::of(&config)?.refuse_public(&config)?;
        Tls::of(&config)?;
        users(&config)?;
        Renames::of(&config)?;
        crate::http::addresses(&config)?;
        Ok(())
    }

    /// Where clients reach it: addresses with ports, and paths.
    pub fn places(&self) -> Vec<String> {
        self.bound.iter().map(Bound::to_string).collect()
    }

    /// The address of its first TCP socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.bound.iter().find_map(|bound| match bound {
            Bound::Tcp(address) => Some(*address),
            Bound::Tls(_) | Bound::Unix(_) => None,
        })
    }

    /// The address of its first TCP socket for clients that use TLS.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.bound.iter().find_map(|bound| match bound {
            Bound::Tls(address) => Some(*address),
            Bound::Tcp(_) | Bound::Unix(_) => None,
        })
    }

    /// Whether it has certificates, which [`Handle::renew_certificates`] reads again.
    pub fn uses_tls(&self) -> bool {
        self.state.tls.is_some()
    }

    /// Where HTTP is served, if it is.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(Serving::address)
    }

    /// For other threads.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// What its data tell of themselves; how many commits were replayed, for one.
    pub fn data(&self) -> weald_engine::Stats {
        self.db.stats()
    }

    /// Serves until it is asked to end, by its [`Handle`] or by `SHUTDOWN`. Then all data are in the one file.
    pub fn run(self) -> Result<(), StartError> {
        let Server {
            poll,
            listeners,
            messages,
            handle,
            state,
            db,
            http,
            ..
        } = self;
        let system = |source: io::Error| StartError::System {
            what: "serve".to_owned(),
            source,
        };
        let mut event_loop = EventLoop::new(poll, listeners, messages, &db, state)
            .map_err(|e| ConfigError::Refused(format!("the data can't be served: {e}")))?;
        let ending = event_loop.run().map_err(system);
        let cluster = event_loop.take_cluster();
        // Requests that still wait for an answer of the loop get an error with its end.
        drop(event_loop);
        drop(http);
        if let Some(cluster) = cluster {
            cluster.stop().map_err(|e| StartError::Cluster {
                what: "close the node's replica".to_owned(),
                source: e.into(),
            })?;
        }
        let ending = ending?;
        drop(handle);
        match Arc::try_unwrap(db) {
            Ok(db) if ending == Ending::Clean => {
                let path = db.path();
                db.close().map_err(|e| StartError::Data {
                    path,
                    source: Box::new(e),
                })
            }
            // Its drop closes it as well; what can't be written to the file is in the log.
            _ => Ok(()),
        }
    }
}

/// A node keeps its replica where a server alone keeps its database, under another name: neither finds the other's data, which must not look as if they were lost.
fn refuse_other_use(dir: &Path, is_node: bool) -> Result<(), ConfigError> {
    let (file, owner, advice) = if is_node {
        (DATABASE, "a server alone", "give the node a directory of its own")
    } else {
        (
            REPLICA,
            "a node of a cluster",
            "start it with --cluster-port, or use another directory",
        )
    };
    if dir.join(file).exists() {
        let dir = dir.display();
        return Err(ConfigError::Refused(format!(
            "{dir} has the data of {owner}: {advice}"
        )));
    }
    Ok(())
}

fn data_error(path: &Path, e: weald_engine::Error) -> StartError {
    StartError::Data {
        path: path.to_owned(),
        source: Box::new(e),
    }
}

fn users(config: &Config) -> Result<Users, StartError> {
    let all_channels = config.text("acl-pubsub-default") == "allchannels";
    let mut users = Users::of(config)?;
    let path = file::path_of(config);
    if path.is_some() && !config.text("user").is_empty() {
        let why = "users are named with user or in an aclfile, not both".to_owned();
        return Err(ConfigError::Refused(why).into());
    }
    if let Some(path) = path.filter(|path| path.exists()) {
        users = Users::load(&path, all_channels).map_err(ConfigError::Refused)?;
    }
    let password = config.text("requirepass");
    if !password.is_empty() {
        users.set_default_password(password);
    }
    Ok(users)
}

fn open(dir: &Path, config: &Config, settings: &Settings) -> Result<Database, StartError> {
    std::fs::create_dir_all(dir).map_err(|source| StartError::System {
        what: format!("make the directory {}", dir.display()),
        source,
    })?;
    let path = dir.join(DATABASE);
    let dirty = config.number("dirty-memory") as u64;
    let log = config.number("checkpoint-log") as u64;
    let mut options = DatabaseOptions::new()
        // Single commits say for themselves how durable they are; this is what those get that are flushed in batches.
        .sync(SyncPolicy::Batched(settings.durability_interval))
        .dirty_bytes_max(dirty)
        .bulk_bytes(BULK_BYTES_MAX.min(dirty / 4))
        .checkpoint_wal_bytes(log)
        // Each checkpoint gives back four, to be written again.
        .wal_segment_bytes((log / 4).clamp(16 << 20, 64 << 20));
    if let Some(size) = config.page_size().filter(|_| !path.exists()) {
        options = options.page_size(size);
    }
    Database::open_with_options(&path, options).map_err(|e| StartError::Data {
        path,
        source: Box::new(e),
    })
}

/// As many files may be open as there may be clients, where the system lets us.
fn raise_file_limit(maxclients: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = maxclients as u64 + 64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let current = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
        if setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(current),
                maximum: limit.maximum,
            },
        )
        .is_err()
            || current < wanted
        {
            log::warn!("the system lets us have {current} files open, too few for {maxclients} clients");
        }
    }
}
