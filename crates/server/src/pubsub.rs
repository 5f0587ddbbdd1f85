//! Channels, patterns and shard channels, and who has subscribed to them.

use std::collections::HashMap;

use weald_resp::Reply;

use crate::clients::Clients;
use crate::glob;
use crate::session::ClientId;

/// The kinds of what can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Channel,
    Pattern,
    Shard,
}

/// Who has subscribed to what.
#[derive(Default)]
pub(crate) struct PubSub {
    channels: HashMap<Vec<u8>, Vec<ClientId>>,
    patterns: HashMap<Vec<u8>, Vec<ClientId>>,
    shards: HashMap<Vec<u8>, Vec<ClientId>>,
}

impl PubSub {
    fn map(&mut self, topic: Topic) -> &mut HashMap<Vec<u8>, Vec<ClientId>> {
        match topic {
            Topic::Channel => &mut self.channels,
            Topic::Pattern => &mut self.patterns,
            Topic::Shard => &mut self.shards,
        }
    }

    pub(crate) fn add(&mut self, topic: Topic, name: &[u8], client: ClientId) {
        self.map(topic).entry(name.to_vec()).or_default().push(client);
    }

    pub(crate) fn remove(&mut self, topic: Topic, name: &[u8], client: ClientId) {
        let map = self.map(topic);
        if let Some(clients) = map.get_mut(name) {
            clients.retain(|subscribed| *subscribed != client);
            if clients.is_empty() {
                map.remove(name);
            }
        }
    }

    /// Sends a message to all who listen; to how many.
    pub(crate) fn publish(&self, clients: &mut Clients, channel: &[u8], message: &[u8]) -> usize {
        let mut receivers = 0;
        for client in self.channels.get(channel).into_iter().flatten() {
            receivers +=
                usize::from(clients.write(*client, |reply| send(reply, b"message", None, channel, message)));
        }
        for (pattern, listeners) in &self.patterns {
            if glob::matches(pattern, channel) {
                for client in listeners {
                    receivers += usize::from(clients.write(*client, |reply| {
                        send(reply, b"pmessage", Some(pattern), channel, message);
                    }));
                }
            }
        }
        receivers
    }

    /// The same in a shard channel.
    pub(crate) fn publish_shard(&self, clients: &mut Clients, channel: &[u8], message: &[u8]) -> usize {
        let mut receivers = 0;
        for client in self.shards.get(channel).into_iter().flatten() {
            receivers +=
                usize::from(clients.write(*client, |reply| send(reply, b"smessage", None, channel, message)));
        }
        receivers
    }

    /// Channels that somebody listens to.
    pub(crate) fn active(&self, topic: Topic, pattern: Option<&[u8]>) -> Vec<&[u8]> {
        let map = match topic {
            Topic::Shard => &self.shards,
            Topic::Channel | Topic::Pattern => &self.channels,
        };
        map.keys()
            .map(Vec::as_slice)
            .filter(|name| pattern.is_none_or(|pattern| glob::matches(pattern, name)))
            .collect()
    }

    /// How many listen to a channel.
    pub(crate) fn listeners(&self, topic: Topic, name: &[u8]) -> usize {
        let map = match topic {
            Topic::Shard => &self.shards,
            Topic::Channel | Topic::Pattern => &self.channels,
        };
        map.get(name).map_or(0, Vec::len)
    }

    /// How many different channels, patterns and shard channels there are.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        (self.channels.len(), self.patterns.len(), self.shards.len())
    }
}

fn send(reply: &mut Reply, kind: &[u8], pattern: Option<&[u8]>, channel: &[u8], message: &[u8]) {
    reply.push(3 + usize::from(pattern.is_some()));
    reply.bulk(kind);
    if let Some(pattern) = pattern {
        reply.bulk(pattern);
    }
    reply.bulk(channel);
    reply.bulk(message);
}
