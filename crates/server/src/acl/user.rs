//! A user: passwords and permissions.

use crate::acl::selector::{Denied, Selector, channels_of};
use crate::acl::{Digest, same};
use crate::registry::{Flags, Found};

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    name: Vec<u8>,
    pub(crate) enabled: bool,
    pub(crate) nopass: bool,
    pub(crate) sanitize: bool,
    pub(crate) passwords: Vec<Digest>,
    /// The permissions of the user itself, and further ones, each of which is enough.
    pub(crate) selectors: Vec<Selector>,
}

impl User {
    /// One that can't do anything.
    pub(crate) fn new(name: &[u8], all_channels: bool) -> User {
        let mut root = Selector::nothing();
        root.all_channels = all_channels;
        User {
            name: name.to_vec(),
            enabled: false,
            nopass: false,
            sanitize: true,
            passwords: Vec::new(),
            selectors: vec![root],
        }
    }

    /// The user that clients are who have not said otherwise: at first it needs no password and may do everything.
    pub(crate) fn default_user() -> User {
        let mut user = User::new(b"default", true);
        for rule in ["on", "nopass", "allkeys", "allcommands"] {
            user.apply(rule.as_bytes(), true).expect("rules of our own");
        }
        user
    }

    pub(crate) fn name(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }

    pub(crate) fn name_bytes(&self) -> &[u8] {
        &self.name
    }

    /// Whether clients are this user without a password.
    pub(crate) fn needs_no_password(&self) -> bool {
        self.enabled && self.nopass
    }

    /// Whether it may do everything.
    pub(crate) fn is_unrestricted(&self) -> bool {
        self.selectors.iter().any(Selector::allows_all)
    }

    /// Applies one rule; what is wrong with it otherwise. `selectors` is how many were there before the first of these rules.
    pub(crate) fn apply(&mut self, rule: &[u8], all_channels: bool) -> Result<(), &'static str> {
        match rule.to_ascii_lowercase().as_slice() {
            b"on" => self.enabled = true,
            b"off" => self.enabled = false,
            b"nopass" => {
                self.nopass = true;
                self.passwords.clear();
            }
            b"resetpass" => {
                self.nopass = false;
                self.passwords.clear();
            }
            b"sanitize-payload" => self.sanitize = true,
            b"skip-sanitize-payload" => self.sanitize = false,
            b"clearselectors" => self.selectors.truncate(1),
            b"reset" => *self = User::new(&self.name, all_channels),
            b"" => {}
            _ => return self.apply_other(rule),
        }
        Ok(())
    }

    fn apply_other(&mut self, rule: &[u8]) -> Result<(), &'static str> {
        const BAD_HASH: &str = "The provided password hash must be exactly 64 characters and contain only lowercase hexadecimal characters";
        const NO_SUCH: &str = "The password you are trying to remove from the user does not exist";
        match rule {
            [b'>', password @ ..] => self.add_password(Digest::of(password)),
            [b'#', hash @ ..] => self.add_password(Digest::parse(hash).ok_or(BAD_HASH)?),
            [b'<', password @ ..] => self.remove_password(&Digest::of(password)).ok_or(NO_SUCH)?,
            [b'!', hash @ ..] => {
                let digest = Digest::parse(hash).ok_or(BAD_HASH)?;
                self.remove_password(&digest).ok_or(NO_SUCH)?;
            }
            [b'(', rules @ .., b')'] => {
                let mut selector = Selector::nothing();
                for rule in rules
                    .split(u8::is_ascii_whitespace)
                    .filter(|rule| !rule.is_empty())
                {
                    selector.apply(rule)?;
                }
                self.selectors.push(selector);
            }
            [b'(', ..] => return Err("Unmatched parenthesis in selector definition."),
            rule => return self.selectors[0].apply(rule),
        }
        Ok(())
    }

    fn add_password(&mut self, digest: Digest) {
        self.nopass = false;
        if !self.passwords.contains(&digest) {
            self.passwords.push(digest);
        }
    }

    fn remove_password(&mut self, digest: &Digest) -> Option<()> {
        let at = self.passwords.iter().position(|known| known == digest)?;
        self.passwords.remove(at);
        Some(())
    }

    /// Whether a password is right.
    pub(crate) fn accepts(&self, password: &[u8]) -> bool {
        let given = Digest::of(password);
        let known = self
            .passwords
            .iter()
            .fold(false, |found, digest| found | same(digest, &given));
        self.enabled && (self.nopass || known)
    }

    /// Whether it may run a command with these arguments.
    pub(crate) fn check(&self, found: Found, args: &[&[u8]]) -> Result<(), Denied> {
        if self.is_unrestricted() || found.command.flags.has(Flags::NO_AUTH) {
            return Ok(());
        }
        let channels = channels_of(found.command, args);
        let mut denied = (0, Denied::Command);
        for selector in &self.selectors {
            match selector.check(found, args, &channels) {
                Ok(()) => return Ok(()),
                // The reason of the selector that came furthest is the one to tell.
                Err(why) if why.0 > denied.0 => denied = why,
                Err(_) => {}
            }
        }
        Err(denied.1)
    }

    /// Whether it may run a command that reads keys of whatever names.
    pub(crate) fn reads_all_keys(&self, found: Found, args: &[&[u8]]) -> bool {
        self.selectors
            .iter()
            .any(|selector| selector.allows_command(found, args) && selector.reads_all_keys())
    }

    /// Whether any of its permissions allow this channel.
    pub(crate) fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.selectors
            .iter()
            .any(|selector| selector.allows_channel(channel, is_pattern))
    }

    /// Its flags, as `ACL GETUSER` has them.
    pub(crate) fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.enabled { "on" } else { "off" }];
        if self.nopass {
            flags.push("nopass");
        }
        flags.push(if self.sanitize {
            "sanitize-payload"
        } else {
            "skip-sanitize-payload"
        });
        flags
    }

    /// Its line in `ACL LIST` and in a file, after `user <name> `.
    pub(crate) fn describe(&self) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = self.flags().iter().map(|flag| flag.as_bytes().to_vec()).collect();
        parts.extend(
            self.passwords
                .iter()
                .map(|digest| format!("#{}", digest.hex()).into_bytes()),
        );
        for (i, selector) in self.selectors.iter().enumerate() {
            let text = selector.describe();
            parts.push(if i == 0 {
                text
            } else {
                [b"(", &text[..], b")"].concat()
            });
        }
        parts.join(&b' ')
    }
}
