//! Machines on a switch, made of namespaces, and what can happen to it.
//!
//! Every machine knows the others' hardware addresses and asks nobody for them. To lose what goes from one machine to another, the first is told a wrong one:
//! its packets leave, and nobody takes them, while those of the other direction arrive. No filter of packets is needed for it.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

/// The machines are numbered from 0.
pub(crate) struct Network {
    name: String,
    count: usize,
}

/// A wrong address. The switch sends what is for it where it is counted.
const NOBODY: &str = "02:00:00:00:00:ff";
/// How long a direction leads nowhere when all of them do in turn.
const MOMENT: Duration = Duration::from_millis(15);

fn hardware(machine: usize) -> String {
    format!("02:00:00:00:00:0{machine}")
}

pub(crate) fn address(machine: usize) -> String {
    format!("10.77.0.{}", machine + 1)
}

fn run(program: &str, args: &str) -> Result<Output, String> {
    let output = Command::new(program)
        .args(args.split(' '))
        .output()
        .map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        Ok(output)
    } else {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(format!("{program} {args}: {}", why.trim()))
    }
}

fn ip(args: &str) {
    run("ip", args).unwrap_or_else(|e| panic!("{e}"));
}

/// What networks of this test that were left behind are called: killed tests clean nothing up.
fn sweep() {
    let Ok(list) = run("ip", "netns list") else { return };
    for line in String::from_utf8_lossy(&list.stdout).lines() {
        let name = line.split(' ').next().unwrap_or_default();
        let owner = name
            .strip_prefix("weald-")
            .and_then(|rest| rest.split('-').next());
        if let Some(owner) = owner.filter(|owner| owner.parse::<u32>().is_ok())
            && !Path::new("/proc").join(owner).exists()
        {
            let _ = run("ip", &format!("netns del {name}"));
        }
    }
}

impl Network {
    /// `Err`: why this machine can't have one.
    pub(crate) fn of(count: usize, label: &str) -> Result<Network, String> {
        sweep();
        let network = Network {
            name: format!("weald-{}-{label}", std::process::id()),
            count,
        };
        run("ip", &format!("netns add {}", network.hub()))?;
        run("ip", &format!("-n {} link add switch type bridge", network.hub()))?;
        ip(&format!("-n {} link set switch up", network.hub()));
        network.add_sink()?;
        for machine in 0..count {
            network.add(machine)?;
        }
        (0..count).for_each(|machine| network.heal_from(machine));
        Ok(network)
    }

    /// Where all goes that is for nobody, and nothing else.
    fn add_sink(&self) -> Result<(), String> {
        let hub = self.hub();
        run("ip", &format!("-n {hub} link add sink type veth peer name drain"))?;
        ip(&format!("-n {hub} link set drain up"));
        ip(&format!("-n {hub} link set sink master switch up"));
        let quiet = "flood off mcast_flood off bcast_flood off learning off";
        run("bridge", &format!("-n {hub} link set dev sink {quiet}"))?;
        run(
            "bridge",
            &format!("-n {hub} fdb add {NOBODY} dev sink master static"),
        )
        .map(drop)
    }

    fn add(&self, machine: usize) -> Result<(), String> {
        let (hub, space) = (self.hub(), self.space(machine));
        run("ip", &format!("netns add {space}"))?;
        run(
            "ip",
            &format!("-n {hub} link add port{machine} type veth peer name wire netns {space}"),
        )?;
        ip(&format!("-n {hub} link set port{machine} master switch up"));
        ip(&format!("-n {space} link set wire address {}", hardware(machine)));
        ip(&format!(
            "-n {space} address add {}/24 dev wire",
            address(machine)
        ));
        ip(&format!("-n {space} link set wire up"));
        ip(&format!("-n {space} link set lo up"));
        Ok(())
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.name)
    }

    /// The namespace of a machine.
    pub(crate) fn space(&self, machine: usize) -> String {
        format!("{}-{machine}", self.name)
    }

    /// Pulls a machine's cable.
    pub(crate) fn cut(&self, machine: usize) {
        ip(&format!("-n {} link set port{machine} down", self.hub()));
    }

    /// Loses what goes from one machine to another.
    pub(crate) fn lose(&self, from: usize, to: usize) {
        self.tell(from, to, NOBODY);
    }

    /// Undoes all of that.
    pub(crate) fn heal(&self) {
        for machine in 0..self.count {
            ip(&format!("-n {} link set port{machine} up", self.hub()));
            self.heal_from(machine);
        }
    }

    fn heal_from(&self, from: usize) {
        for to in (0..self.count).filter(|&to| to != from) {
            self.tell(from, to, &hardware(to));
        }
    }

    fn tell(&self, from: usize, to: usize, hardware: &str) {
        let (space, address) = (self.space(from), address(to));
        ip(&format!(
            "-n {space} neigh replace {address} lladdr {hardware} dev wire nud permanent"
        ));
    }

    /// How many packets went to a wrong address.
    pub(crate) fn misled(&self) -> u64 {
        let count = format!(
            "netns exec {} cat /sys/class/net/sink/statistics/tx_packets",
            self.hub()
        );
        let output = run("ip", &count).unwrap_or_else(|e| panic!("{e}"));
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim().parse().expect("a count of packets")
    }

    /// Loses some of what every machine sends for as long as wished: at random, and with delays, where the kernel has netem; otherwise each direction between
    /// two in turn leads nowhere for a moment. Says how, and how many packets were lost. The network is whole afterwards.
    pub(crate) fn trouble(&self, goes_on: impl Fn() -> bool) -> (&'static str, u64) {
        let each = |what: &str| -> Result<Vec<Output>, String> {
            (0..self.count)
                .map(|machine| run("tc", &what.replace("SPACE", &self.space(machine))))
                .collect()
        };
        if each("-n SPACE qdisc replace dev wire root netem delay 2ms 1ms loss 3%").is_ok() {
            while goes_on() {
                std::thread::sleep(MOMENT);
            }
            let shown = each("-n SPACE -s qdisc show dev wire root").unwrap_or_else(|e| panic!("{e}"));
            each("-n SPACE qdisc del dev wire root").unwrap_or_else(|e| panic!("{e}"));
            let all = shown
                .iter()
                .map(|output| lost(&String::from_utf8_lossy(&output.stdout)));
            return ("2 ms more, 3 % lost", all.sum());
        }
        let before = self.misled();
        while goes_on() {
            for from in 0..self.count {
                for to in (0..self.count).filter(|&to| to != from) {
                    self.lose(from, to);
                    std::thread::sleep(MOMENT);
                    self.tell(from, to, &hardware(to));
                }
            }
        }
        (
            "no netem here: each direction in turn lost for a moment",
            self.misled() - before,
        )
    }
}

/// From a line such as ` Sent 5318 bytes 31 pkt (dropped 7, overlimits 0 requeues 0)`.
fn lost(shown: &str) -> u64 {
    let count = shown
        .split("(dropped ")
        .nth(1)
        .and_then(|rest| rest.split(',').next());
    count
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("no count of losses in {shown}"))
}

impl Drop for Network {
    fn drop(&mut self) {
        for machine in 0..self.count {
            let _ = run("ip", &format!("netns del {}", self.space(machine)));
        }
        let _ = run("ip", &format!("netns del {}", self.hub()));
    }
}
