//! `weald serve`: a server for Redis clients.
//!
//! The flags are those of the server's own table of settings, so that flags, environment and file can't say different things.

use std::io::Write;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueHint};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use weald_server::{Config, Handle, Server, StartError, settings, version_line};

use crate::cli::Outcome;
use crate::cli::failure::{Failure, Result};
use crate::cli::journal;
use crate::cli::output::Output;
use crate::cli::readiness;

const ABOUT: &str = "Serve Redis clients, with the data in a directory";

const EXPLANATION: &str = "\
Serve Redis clients, with the data in a directory

Every setting can be given as a flag, as a variable of the environment (WEALD_PORT), or in a TOML file (port = 6379): flags
come before variables, and these before the file. Most flags of redis-server are understood. Secrets are better off in a file
or in the environment, as everybody on the machine can see arguments.

It ends with code 0 after Ctrl-C, SIGTERM or SHUTDOWN, and all data are in the one file then.";

/// What the command line says of a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Serve {
    file: Option<PathBuf>,
    /// Settings, in the order in which they were given.
    flags: Vec<(String, String)>,
    print_config: bool,
    check_config: bool,
    redis_version: bool,
}

impl Args for Serve {
    fn augment_args(command: Command) -> Command {
        let switch = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
        let command = command
            .about(ABOUT)
            .long_about(EXPLANATION)
            .arg(
                Arg::new("file")
                    .value_name("FILE")
                    .env("WEALD_CONFIG")
                    .value_hint(ValueHint::FilePath)
                    .value_parser(clap::value_parser!(PathBuf))
                    .help(
                        "The configuration file: TOML, or lines as in redis.conf if its name ends in .conf, or in that and a number",
                    ),
            )
            .arg(switch("print-config").help("Print all settings as a file, and end"))
            .arg(switch("check-config").help("Check the settings, and end"))
            .arg(
                switch("redis-version")
                    .short('v')
                    .help("Print the version of Redis whose replies these are, as redis-server does"),
            );
        settings().iter().fold(command, |command, setting| {
            let default = if setting.default.is_empty() {
                ""
            } else {
                " [default: "
            };
            let close = if setting.default.is_empty() { "" } else { "]" };
            command.arg(
                Arg::new(setting.name)
                    .long(setting.name)
                    .aliases(other_spelling(setting.name))
                    .value_name("VALUE")
                    .num_args(0..)
                    .action(ArgAction::Append)
                    .allow_negative_numbers(true)
                    .hide(setting.inert)
                    .help(format!("{}{default}{}{close}", setting.help, setting.default)),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Serve::augment_args(command)
    }
}

impl FromArgMatches for Serve {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Serve, clap::Error> {
        let mut serve = Serve::default();
        serve.update_from_arg_matches(matches)?;
        Ok(serve)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.file = matches.get_one("file").cloned();
        self.print_config = matches.get_flag("print-config");
        self.check_config = matches.get_flag("check-config");
        self.redis_version = matches.get_flag("redis-version");
        for setting in settings() {
            for values in matches
                .get_occurrences::<String>(setting.name)
                .into_iter()
                .flatten()
            {
                let words: Vec<&str> = values.map(String::as_str).collect();
                self.flags.push((setting.name.to_owned(), words.join(" ")));
            }
        }
        Ok(())
    }
}

impl Serve {
    pub(crate) fn run(&self) -> Result<Outcome> {
        if self.redis_version {
            return print(&(version_line() + "\n"));
        }
        let config = self.config().map_err(|e| Failure::Usage(e.to_string()))?;
        if self.print_config {
            return print(&config.to_toml());
        }
        if self.check_config {
            Server::check(&config).map_err(failed)?;
            return print("the configuration can be used\n");
        }
        journal::start(
            config.get("loglevel").unwrap_or_default(),
            config.get("logfile").unwrap_or_default(),
        )?;
        // Before anything is open, so that no signal finds the process unprepared.
        let signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
            .map_err(|e| Failure::Io("catch signals".to_owned(), e))?;
        let dir = config.get("dir").unwrap_or_default().to_owned();
        let server = Server::bind(config).map_err(failed)?;
        let renews = server.uses_tls();
        obey_signals(signals, server.handle(), renews)?;
        announce(&server, &dir);
        readiness::tell("READY=1");
        let ended = server.run();
        readiness::tell("STOPPING=1");
        ended.map_err(failed)?;
        log::info!("ended, with all data in {dir}");
        Ok(Outcome::Done)
    }

    /// Defaults, file, environment and flags, each over what came before.
    fn config(&self) -> Result<Config, weald_server::ConfigError> {
        let mut config = Config::default();
        if let Some(file) = &self.file {
            config.read_file(file)?;
        }
        config.read_env(std::env::vars_os())?;
        for (name, value) in &self.flags {
            config.set(name, value)?;
        }
        config.read_secrets()?;
        config.check()?;
        Ok(config)
    }
}

/// Names as programs write them: `--write_quorum`.
fn other_spelling(name: &'static str) -> Option<String> {
    name.contains('-').then(|| name.replace('-', "_"))
}

fn print(text: &str) -> Result<Outcome> {
    let mut out = Output::new();
    out.raw(text.as_bytes())?;
    out.finish()?;
    Ok(Outcome::Done)
}

fn failed(e: StartError) -> Failure {
    match e {
        StartError::Config(e) => Failure::Usage(e.to_string()),
        StartError::Data { path, source } => Failure::Database(path, source),
        StartError::Listen { place, source } => Failure::Io(format!("listen on {place}"), source),
        StartError::System { what, source } => Failure::Io(what, source),
        e => Failure::Refused(e.to_string()),
    }
}

/// The first signal ends the server, which finishes what it is doing; a second one ends the process. Where it has certificates, SIGHUP says that there may be new ones.
fn obey_signals(mut signals: Signals, handle: Handle, renews: bool) -> Result<()> {
    let thread = std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut asked = false;
            for signal in signals.forever() {
                if renews && signal == SIGHUP {
                    handle.renew_certificates();
                    continue;
                }
                if asked {
                    let _ = emulate_default_handler(signal);
                }
                asked = true;
                log::info!("signal {signal}: ending");
                handle.end();
            }
        });
    thread
        .map(drop)
        .map_err(|e| Failure::Io("start a thread".to_owned(), e))
}

/// Where it is, and what to try.
fn announce(server: &Server, dir: &str) {
    let places = server.places().join(", ");
    let replayed = server.data().replayed_commits;
    log::info!("serving {dir} on {places}; {replayed} commits were replayed");
    let mut text = format!("Weald {} serves {dir} on {places}\n", env!("CARGO_PKG_VERSION"));
    if let Some(address) = server.address() {
        let host = if address.ip().is_loopback() && address.is_ipv4() {
            String::new()
        } else {
            format!(" -h {}", address.ip())
        };
        text.push_str(&format!(
            "Try it:   redis-cli{host} -p {0} SET hello world\n          redis-cli{host} -p {0} GET hello\nEnd it with Ctrl-C. 'weald serve --help' lists all settings.\n",
            address.port()
        ));
    }
    if let Some(address) = server.http_address() {
        text.push_str(&format!("Dashboard: http://{address}/\n"));
    }
    // Nobody has to read it.
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
