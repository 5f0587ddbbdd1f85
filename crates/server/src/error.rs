//! Why a command gives an error instead of its answer.

use std::borrow::Cow;

/// What a handler gives: nothing, as its answer is in [`Call::reply`](crate::call::Call::reply), or why there is none.
pub(crate) type CommandResult = Result<(), CommandError>;

/// Why a command gives an error instead of its answer. What it wrote to its reply is taken back.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// The whole line: a code in capitals, a blank, a sentence. Nothing was changed.
    Refused(Cow<'static, str>),
    /// The engine failed. Where the command writes, all writes of the tick are taken back.
    Engine(Box<weald_engine::Error>),
}

impl CommandError {
    /// An error of the code `ERR`, or of another if the text begins with one.
    pub(crate) fn new(text: impl Into<Cow<'static, str>>) -> CommandError {
        CommandError::Refused(text.into())
    }

    pub(crate) fn wrong_type() -> CommandError {
        CommandError::new("WRONGTYPE Operation against a key holding the wrong kind of value")
    }

    pub(crate) fn syntax() -> CommandError {
        CommandError::new("ERR syntax error")
    }

    pub(crate) fn not_an_integer() -> CommandError {
        CommandError::new("ERR value is not an integer or out of range")
    }

    pub(crate) fn not_a_float() -> CommandError {
        CommandError::new("ERR value is not a valid float")
    }

    pub(crate) fn out_of_range() -> CommandError {
        CommandError::new("ERR index out of range")
    }

    pub(crate) fn no_such_key() -> CommandError {
        CommandError::new("ERR no such key")
    }

    /// The wrong number of arguments for a command of this name.
    pub(crate) fn arity(name: &str) -> CommandError {
        CommandError::new(format!("ERR wrong number of arguments for '{name}' command"))
    }
}

impl std::fmt::Display for CommandError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CommandError::Refused(text) => f.write_str(text),
            CommandError::Engine(e) => e.fmt(f),
        }
    }
}

impl From<weald_engine::Error> for CommandError {
    fn from(e: weald_engine::Error) -> CommandError {
        CommandError::Engine(Box::new(e))
    }
}
