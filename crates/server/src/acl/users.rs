//! All users.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::acl::User;

/// All users. There is always one of the name `default`.
pub(crate) struct Users {
    by_name: BTreeMap<Vec<u8>, Arc<User>>,
    /// Whether users that are made may use all channels.
    pub(crate) all_channels: bool,
}

impl Default for Users {
    fn default() -> Users {
        let user = Arc::new(User::default_user());
        Users {
            by_name: BTreeMap::from([(b"default".to_vec(), user)]),
            all_channels: false,
        }
    }
}

impl Users {
    /// Only the user default.
    pub(crate) fn new(all_channels: bool) -> Users {
        Users {
            all_channels,
            ..Users::default()
        }
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.by_name.get(name)
    }

    /// The user that clients are at first.
    pub(crate) fn default_user(&self) -> &Arc<User> {
        &self.by_name[&b"default"[..]]
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<User>> {
        self.by_name.values()
    }

    /// Makes or changes a user by rules: all of them, or none and what is wrong with one.
    pub(crate) fn set(&mut self, name: &[u8], rules: &[&[u8]]) -> Result<Arc<User>, (Vec<u8>, &'static str)> {
        let mut user = match self.by_name.get(name) {
            Some(user) => User::clone(user),
            None => User::new(name, self.all_channels),
        };
        for rule in merged(rules)? {
            user.apply(&rule, self.all_channels)
                .map_err(|why| (rule.clone(), why))?;
        }
        let user = Arc::new(user);
        self.by_name.insert(name.to_vec(), user.clone());
        Ok(user)
    }

    /// Removes a user; whether there was one.
    pub(crate) fn remove(&mut self, name: &[u8]) -> bool {
        self.by_name.remove(name).is_some()
    }

    /// Who has this name and password.
    pub(crate) fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        match self.by_name.get(name) {
            Some(user) => user.accepts(password).then(|| user.clone()),
            None => {
                // As long as for a user who is there.
                let _ = User::new(name, false).accepts(password);
                None
            }
        }
    }

    /// The password of the user default is this, or it needs none.
    pub(crate) fn set_default_password(&mut self, password: &str) -> Arc<User> {
        let rule = format!(">{password}");
        let rules: &[&[u8]] = if password.is_empty() {
            &[b"nopass"]
        } else {
            &[b"resetpass", rule.as_bytes()]
        };
        self.set(b"default", rules).expect("rules of our own")
    }
}

/// Puts the arguments of a selector together, which blanks have split.
fn merged(rules: &[&[u8]]) -> Result<Vec<Vec<u8>>, (Vec<u8>, &'static str)> {
    let mut merged: Vec<Vec<u8>> = Vec::new();
    let mut open: Option<Vec<u8>> = None;
    for rule in rules {
        let mut text = match open.take() {
            Some(mut text) => {
                text.push(b' ');
                text.extend_from_slice(rule);
                text
            }
            None => rule.to_vec(),
        };
        if text.starts_with(b"(") && !text.ends_with(b")") {
            open = Some(text);
        } else {
            merged.push(std::mem::take(&mut text));
        }
    }
    match open {
        Some(text) => Err((text, "Unmatched parenthesis in acl selector starting at")),
        None => Ok(merged),
    }
}
