//! A program that was built without TLS: who asks for it is told so at the start.

use std::convert::Infallible;
use std::io;

use crate::config::{Config, ConfigError};

/// There is none.
#[derive(Clone)]
pub(crate) struct Tls(Infallible);

impl Tls {
    /// An error where TLS is asked for.
    pub(crate) fn of(config: &Config) -> Result<Option<Tls>, ConfigError> {
        if config.number("tls-port") == 0 && !config.yes("http-tls") {
            return Ok(None);
        }
        Err(ConfigError::Refused(
            "this program was built without TLS, which is the feature tls".to_owned(),
        ))
    }

    pub(crate) fn renew(&self, _: &Config) -> Result<(), ConfigError> {
        match self.0 {}
    }

    pub(crate) fn accept(&self) -> io::Result<Box<Session>> {
        match self.0 {}
    }
}

/// There is none.
pub(crate) struct Session(Infallible);

impl Session {
    pub(crate) fn is_handshaking(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn has_unsent(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn read(&mut self, _: &mut impl io::Read, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub(crate) fn write(&mut self, _: &mut impl io::Write, _: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub(crate) fn flush(&mut self, _: &mut impl io::Write) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn close(&mut self, _: &mut impl io::Write) {
        match self.0 {}
    }
}
