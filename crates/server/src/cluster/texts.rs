//! What clients are told when the cluster could not do what they asked.

use weald_cluster::ClientError;
use weald_cluster::proto::Error;

use crate::error::CommandError;

/// What an error means for who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It was a read.
    None,
    /// A write that may have had an effect, or yet have one.
    Possible,
}

/// The line for an error.
pub(super) fn line(error: ClientError, effect: Effect) -> CommandError {
    let Some(error) = failed(error) else {
        return CommandError::new("STOPPED the node stops; it is not known whether the request took effect");
    };
    CommandError::new(match error {
        Error::NotEnough {
            needed,
            answered,
            refused,
        } => {
            let refused = match refused {
                0 => String::new(),
                refused => format!(", {refused} refused"),
            };
            let yet = match effect {
                Effect::None => "",
                Effect::Possible => "; the write may still take effect",
            };
            format!("NOREPLICAS {answered} of {needed} replicas answered{refused}{yet}")
        }
        Error::Unknown => "UNKNOWN it is not known whether the change took effect".to_owned(),
        Error::Contended => "CONTENDED too many others change the same key; nothing was changed".to_owned(),
        Error::Overloaded => {
            "OVERLOADED the node has too many requests at once; nothing was changed".to_owned()
        }
        Error::NotReady => "NOTREADY the node is not ready to serve; nothing was changed".to_owned(),
        Error::Invalid(what) => format!("ERR the cluster can't do that: {what}"),
        Error::Layout(why) => format!("ERR {why}"),
    })
}

fn failed(error: ClientError) -> Option<Error> {
    match error {
        ClientError::Failed(error) => Some(error),
        ClientError::Stopped => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_replicas_say_how_many_answered() {
        let error = Error::NotEnough {
            needed: 2,
            answered: 1,
            refused: 0,
        };
        assert_eq!(
            line(ClientError::Failed(error), Effect::None).to_string(),
            "NOREPLICAS 1 of 2 replicas answered"
        );
        assert_eq!(
            line(ClientError::Failed(error), Effect::Possible).to_string(),
            "NOREPLICAS 1 of 2 replicas answered; the write may still take effect"
        );
    }
}
