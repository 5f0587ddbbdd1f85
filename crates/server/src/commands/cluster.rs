//! Commands of a node of a cluster. They are answered by [`cluster`](crate::cluster), since their answers come later; a server that is no node refuses them here.

use crate::call::Call;
use crate::error::{CommandError, CommandResult};
use crate::registry::{Access, Command, Flags, Group, KeySpec};

const PLAIN: Flags = Flags::LOADING.and(Flags::STALE);
const ADMIN: Flags = PLAIN.and(Flags::ADMIN).and(Flags::NOSCRIPT);

const fn sub(name: &'static str, arity: i32, since: &'static str, summary: &'static str) -> Command {
    Command::new(name, arity, Group::Server, since, summary, no_node).flags(PLAIN)
}

const fn change(name: &'static str, arity: i32, summary: &'static str) -> Command {
    Command::new(name, arity, Group::Server, "7.2.0", summary, no_node).flags(ADMIN)
}

pub(crate) const COMMANDS: &[Command] = &[
    Command::container(
        "cluster",
        Group::Server,
        "3.0.0",
        "A container for commands of a cluster's node.",
        &[
            sub(
                "cluster|info",
                2,
                "3.0.0",
                "Returns information about the state of a node.",
            ),
            sub("cluster|myid", 2, "3.0.0", "Returns the ID of a node."),
            sub(
                "cluster|nodes",
                2,
                "3.0.0",
                "Returns the nodes as Redis Cluster lists them.",
            ),
            sub(
                "cluster|members",
                2,
                "7.2.0",
                "Lists the nodes that this one knows, a line for each.",
            ),
            sub(
                "cluster|status",
                2,
                "7.2.0",
                "Returns the node's state, its cluster's members, and how far moves and repair are.",
            ),
            sub(
                "cluster|partitions",
                2,
                "7.2.0",
                "Returns what the node knows of each of its partitions.",
            ),
            sub(
                "cluster|layout",
                2,
                "7.2.0",
                "Returns who owns each partition, a line for each.",
            ),
            sub(
                "cluster|events",
                -2,
                "7.2.0",
                "Returns what happened to the cluster after that event, as the node saw it.",
            ),
            Command::new(
                "cluster|help",
                2,
                Group::Server,
                "5.0.0",
                "Returns helpful text about the different subcommands.",
                super::command::help,
            )
            .flags(PLAIN),
            change(
                "cluster|join",
                -2,
                "Takes this node in again, or another one that it knows.",
            ),
            change("cluster|leave", -2, "Lets this node go, or another member."),
            change(
                "cluster|replace",
                -4,
                "Lets a member go and takes another node in, in one move.",
            ),
            change(
                "cluster|abort",
                2,
                "Goes back to the owners from before, while partitions move.",
            ),
            change(
                "cluster|repair",
                2,
                "Reads every key from all of its replicas, which makes those equal that differ.",
            ),
        ],
    ),
    Command::new(
        "weald.consistency",
        -1,
        Group::Weald,
        "7.2.0",
        "Returns or sets how many replicas the connection's requests wait for.",
        no_node,
    )
    .flags(PLAIN.and(Flags::FAST)),
    Command::new(
        "weald.with",
        -3,
        Group::Weald,
        "7.2.0",
        "Runs a command that waits for that many replicas.",
        no_node,
    )
    .flags(PLAIN),
    Command::new(
        "weald.local",
        2,
        Group::Weald,
        "7.2.0",
        "Returns what the node's own store has of a key, and its version.",
        no_node,
    )
    .flags(Flags::READONLY)
    .keys(&[KeySpec::one(1, Access::Read)]),
];

fn no_node(_: &mut Call<'_, '_>) -> CommandResult {
    Err(CommandError::new(
        "ERR This instance has cluster support disabled: start it with --cluster-port",
    ))
}
