//! Backends by name.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::storage::Storage;

/// What a store is opened with. A backend refuses settings that it doesn't know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder that it may keep files in. Backends in memory need none.
    pub dir: Option<PathBuf>,
    /// The memory that it may take for data and caches, as far as the backend can be told.
    pub memory_bytes: u64,
    /// The memory of a [tier](crate::HotTier) before the backend, which keeps what was read or written last; 0 for none. Beside `memory_bytes`.
    pub hot_bytes: u64,
    /// How many changes it remembers for those who follow.
    pub change_capacity: usize,
    /// What only this backend knows, by name.
    pub settings: BTreeMap<String, String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            dir: None,
            memory_bytes: 256 << 20,
            hot_bytes: 0,
            change_capacity: 1 << 14,
            settings: BTreeMap::new(),
        }
    }
}

impl Options {
    /// No folder, 256 MiB, no tier before it, 16,384 changes.
    pub fn new() -> Options {
        Options::default()
    }

    /// With files in this folder, which is created where it is missing.
    pub fn in_dir(dir: impl Into<PathBuf>) -> Options {
        Options {
            dir: Some(dir.into()),
            ..Options::default()
        }
    }

    /// The folder, made if it isn't there, for a backend that can't do without.
    pub fn need_dir(&self, backend: &'static str) -> Result<&Path> {
        let dir = self.dir.as_deref().ok_or_else(|| Error::Option {
            backend,
            option: "dir".into(),
            problem: "this backend keeps files and needs a folder".into(),
        })?;
        std::fs::create_dir_all(dir).map_err(|error| Error::backend(backend, error))?;
        Ok(dir)
    }

    /// A setting that the backend can't do without.
    pub fn need_setting(&self, backend: &'static str, name: &str, what: &str) -> Result<&str> {
        self.settings
            .get(name)
            .map(String::as_str)
            .ok_or_else(|| Error::Option {
                backend,
                option: name.into(),
                problem: format!("this backend needs it: {what}"),
            })
    }

    /// Who to say that one is, from the settings `user` and `password-file`; the name may be missing. A password stands in a file, so that it is
    /// in no list of processes and no log.
    pub fn login(&self, backend: &'static str) -> Result<Option<Login>> {
        let user = self.settings.get("user").cloned();
        let Some(path) = self.settings.get("password-file") else {
            return match user {
                None => Ok(None),
                Some(_) => Err(Error::Option {
                    backend,
                    option: "user".into(),
                    problem: "it needs 'password-file' beside it".into(),
                }),
            };
        };
        let text = std::fs::read_to_string(path).map_err(|error| Error::Option {
            backend,
            option: "password-file".into(),
            problem: format!("{path}: {error}"),
        })?;
        let password = text.trim_end_matches(['\r', '\n']).to_owned();
        Ok(Some(Login { user, password }))
    }

    /// Refuses settings other than those that the backend knows.
    pub fn know_only(&self, backend: &'static str, known: &[&str]) -> Result<()> {
        match self.settings.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(Error::Option {
                backend,
                option: name.clone(),
                problem: "this backend has no such setting".into(),
            }),
        }
    }
}

/// A name and password for a server.
#[derive(Clone)]
pub struct Login {
    /// The name, where one was given.
    pub user: Option<String>,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

type Opener = dyn Fn(&Options) -> Result<Arc<dyn Storage>> + Send + Sync;

/// The backends that can be opened by name.
///
/// ```
/// use weald_storage::{Options, Registry};
///
/// let mut registry = Registry::compiled();
/// // A backend of one's own: any function that opens one.
/// registry.register("scratch", |options| {
///     Registry::compiled().open("memory", options)
/// });
/// let store = registry.open("scratch", &Options::new())?;
/// assert!(registry.open("papyrus", &Options::new()).is_err());
/// # Ok::<(), weald_storage::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Registry {
    openers: BTreeMap<String, Arc<Opener>>,
}

impl Registry {
    /// Without any.
    pub fn empty() -> Registry {
        Registry::default()
    }

    /// Those that this build has.
    pub fn compiled() -> Registry {
        #[allow(unused_mut, reason = "without any feature there is none to register")]
        let mut registry = Registry::empty();
        #[cfg(feature = "memory")]
        registry.register("memory", |options| {
            Ok(Arc::new(crate::memory::Memory::open(options)?))
        });
        #[cfg(feature = "file")]
        registry.register("file", |options| Ok(Arc::new(crate::file::File::open(options)?)));
        #[cfg(feature = "lsm")]
        registry.register("lsm", |options| Ok(Arc::new(crate::lsm::Lsm::open(options)?)));
        #[cfg(feature = "cache")]
        registry.register("cache", |options| {
            Ok(Arc::new(crate::cache::Cache::open(options)?))
        });
        #[cfg(feature = "rocksdb")]
        registry.register("rocksdb", |options| {
            Ok(Arc::new(crate::rocks::Rocks::open(options)?))
        });
        #[cfg(feature = "etcd")]
        registry.register("etcd", |options| Ok(Arc::new(crate::etcd::Etcd::open(options)?)));
        #[cfg(feature = "redis-cluster")]
        registry.register("redis-cluster", |options| {
            Ok(Arc::new(crate::redis_cluster::RedisCluster::open(options)?))
        });
        registry
    }

    /// Adds a backend, or puts it in the place of the one of that name.
    pub fn register(
        &mut self,
        name: impl Into<String>,
        open: impl Fn(&Options) -> Result<Arc<dyn Storage>> + Send + Sync + 'static,
    ) {
        self.openers.insert(name.into(), Arc::new(open));
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.openers.keys().map(String::as_str)
    }

    /// Opens a store, with a tier before it where `options` say so.
    pub fn open(&self, name: &str, options: &Options) -> Result<Arc<dyn Storage>> {
        let open = self.openers.get(name).ok_or_else(|| Error::UnknownBackend {
            name: name.into(),
            known: self.names().collect::<Vec<_>>().join(", "),
        })?;
        let store = open(options)?;
        match options.hot_bytes {
            0 => Ok(store),
            bytes => with_tier(&store, bytes),
        }
    }
}

#[cfg(feature = "memory")]
fn with_tier(store: &Arc<dyn Storage>, bytes: u64) -> Result<Arc<dyn Storage>> {
    Ok(Arc::new(crate::HotTier::over(store.clone(), bytes)?))
}

#[cfg(not(feature = "memory"))]
fn with_tier(store: &Arc<dyn Storage>, _: u64) -> Result<Arc<dyn Storage>> {
    Err(Error::Option {
        backend: store.backend(),
        option: "hot_bytes".into(),
        problem: "a tier before a backend needs the feature 'memory', which this build lacks".into(),
    })
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_comes_from_a_file_and_is_shown_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        std::fs::write(&file, "open sesame\n").unwrap();
        let mut options = Options::new();
        assert!(options.login("x").unwrap().is_none());
        options.settings.insert("user".into(), "ali".into());
        assert!(options.login("x").is_err(), "a name alone is a mistake");
        options
            .settings
            .insert("password-file".into(), file.display().to_string());
        let login = options.login("x").unwrap().unwrap();
        assert_eq!(
            (login.user.as_deref(), &*login.password),
            (Some("ali"), "open sesame")
        );
        assert!(!format!("{login:?} {options:?}").contains("sesame"));
        options.settings.insert("password-file".into(), "/nowhere".into());
        let refused = options.login("x").unwrap_err().to_string();
        assert!(refused.contains("/nowhere"), "{refused}");
    }
}
