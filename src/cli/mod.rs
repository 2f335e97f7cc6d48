//! One file per subcommand; here is what they share: the words of the command line, exit codes,
//! and the two ways of saying something.

mod accounts;
mod audit;
mod cas;
mod certs;
mod chain;
mod check;
mod confos;
mod devices;
mod find;
mod handover;
mod hello;
mod keys;
mod pubs;
mod serve;
mod subs;
mod times;
mod tokens;

use crate::{
    config::{Config, Environment, Loaded},
    device::issue::Issuing,
    ops::logs::LogError,
    server::{self, ServeError},
    store::{Micros, Store, StoreError, devices::Devices},
};
use clap::{Parser, Subcommand};
use std::{
    ffi::OsString,
    fmt::Display,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Exit codes of `sysexits.h`; 1 is everything else.
const EX_USAGE: u8 = 64;
const EX_CONFIG: u8 = 78;

/// Files that are named on the command line hold one certificate or request; more is never read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Stores what meters send, and thanks them once it is stored.
#[derive(Debug, Parser)]
#[command(name = "m0v", version)]
#[command(after_help = "Without a command, m0v serves. Without a config file, defaults do.\n\
    Any key of the file can also be set as M0V_SECTION__KEY, for example M0V_METER__LISTEN=127.0.0.1:0.\n\n\
    Exit codes: 0 done, 1 failed, 64 wrong usage, 78 wrong configuration.")]
struct Cli {
    /// The config file [default: $M0V_CONFIG, else ./m0v.toml if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve all ports until SIGTERM (what m0v does without a command)
    Serve,
    /// Say what is right and wrong with the configuration and its surroundings, one line each
    Check(check::Args),
    /// Explain a captured TLS ClientHello: what the device can do, and what each compat level makes of it
    Hello(hello::Args),
    /// Assemble leaf, intermediates and root in the order that devices want, verified, on stdout
    Chain(chain::Args),
    /// Add and show devices, as the id and hash they send
    #[command(subcommand)]
    Pub(pubs::Command),
    /// Register users, who own the devices they confirm
    #[command(subcommand)]
    Sub(subs::Command),
    /// Show confirmations, and end conflicts between users
    #[command(subcommand)]
    Confo(confos::Command),
    /// Make and register the CAs that vouch for devices
    #[command(subcommand)]
    Ca(cas::Command),
    /// Issue, list and revoke certificates of devices
    #[command(subcommand)]
    Cert(certs::Command),
    /// Show, approve, link and revoke devices that are known by certificates
    #[command(subcommand)]
    Device(devices::Command),
    /// Make and retire keys of the HTTPS API
    #[command(subcommand)]
    Key(keys::Command),
    /// Show who did what, and when
    Audit(audit::Args),
    /// Make and end onboarding tokens, which devices show to be given an account
    #[command(subcommand)]
    Token(tokens::Command),
    /// Show and change accounts: what clients of MQTT brokers may do
    #[command(subcommand)]
    Account(accounts::Command),
}

/// Why a command failed; said once, on stderr, by [`run`].
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// Logs have nowhere to go.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The server could not start.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system grants no threads or no event queue.
    #[error("cannot start the runtime: {0}")]
    Runtime(#[source] io::Error),
    /// A file that was named.
    #[error("{path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No key can be made.
    #[error("the operating system grants no randomness")]
    Randomness,
    /// Nobody takes what is said on stdout.
    #[error("cannot write to stdout: {0}")]
    Output(#[source] io::Error),
}

/// Does what the command line says. Everything that comes from outside is passed in.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return explain_usage(&error),
    };
    let command = cli.command.unwrap_or(Command::Serve);
    // These look at files alone, and work without a configuration or beside a wrong one.
    let done = match &command {
        Command::Hello(args) => Some(hello::run(args)),
        Command::Chain(args) => Some(chain::run(args)),
        Command::Serve
        | Command::Check(_)
        | Command::Pub(_)
        | Command::Sub(_)
        | Command::Confo(_)
        | Command::Ca(_)
        | Command::Cert(_)
        | Command::Device(_)
        | Command::Key(_)
        | Command::Audit(_)
        | Command::Token(_)
        | Command::Account(_) => None,
    };
    if let Some(done) = done {
        return done.unwrap_or_else(|error| failed(&error));
    }
    let environment: Environment = variables.into_iter().collect();
    let loaded = match Config::load(cli.config.as_deref(), environment) {
        Ok(loaded) => loaded,
        Err(faults) => {
            complain(faults);
            // To `check`, a wrong configuration is one fault among others.
            let code = if matches!(command, Command::Check(_)) { 1 } else { EX_CONFIG };
            return ExitCode::from(code);
        }
    };
    execute(command, loaded).unwrap_or_else(|error| failed(&error))
}

fn failed(error: &CliError) -> ExitCode {
    complain(format_args!("m0v: {error}"));
    ExitCode::FAILURE
}

fn execute(command: Command, loaded: Loaded) -> Result<ExitCode, CliError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Runtime)?;
    runtime.block_on(async {
        match command {
            Command::Serve => serve::run(loaded).await,
            Command::Check(args) => check::run(args, loaded).await,
            Command::Pub(command) => pubs::run(command, loaded).await,
            Command::Hello(args) => hello::run(&args),
            Command::Chain(args) => chain::run(&args),
            Command::Sub(command) => subs::run(command, loaded).await,
            Command::Confo(command) => confos::run(command, loaded).await,
            Command::Ca(command) => cas::run(command, loaded).await,
            Command::Cert(command) => certs::run(command, loaded).await,
            Command::Device(command) => devices::run(command, loaded).await,
            Command::Key(command) => keys::run(command, loaded).await,
            Command::Audit(args) => audit::run(args, loaded).await,
            Command::Token(command) => tokens::run(command, loaded).await,
            Command::Account(command) => accounts::run(command, loaded).await,
        }
    })
}

/// Who gives the command, for `audit`.
fn operator() -> String {
    let user = whoami::username().unwrap_or_else(|_| "unknown".to_owned());
    let host = hostname::get().ok().and_then(|name| name.into_string().ok());
    format!("cli {user}@{}", host.as_deref().unwrap_or("unknown"))
}

/// The store, ready, and what issues certificates beside it.
struct Stores {
    store: Arc<dyn Store>,
    data_dir: PathBuf,
    issuer: Option<PathBuf>,
}

impl Stores {
    async fn open(config: &Config) -> Result<Self, CliError> {
        let store = server::open_store(config).await?;
        store.prepare().await?;
        Ok(Self { store, data_dir: config.data_dir.clone(), issuer: config.api.issuer_ca.clone() })
    }

    fn issuing(&self) -> Issuing {
        let store: Arc<dyn Devices> = self.store.clone();
        Issuing::new(store, &self.data_dir, self.issuer.clone())
    }
}

/// The whole of a small text file.
fn read_text(path: &Path) -> Result<String, CliError> {
    let failed = |source| CliError::File { path: path.to_owned(), source };
    let mut text = String::new();
    File::open(path).map_err(failed)?.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// Says why a command did nothing.
fn refuse(command: &str, why: impl Display) -> Result<ExitCode, CliError> {
    complain(format_args!("m0v {command}: {why}"));
    Ok(ExitCode::FAILURE)
}

/// UTC to the second, as the log writes it.
fn rfc3339(time: Micros) -> String {
    let seconds = time.div_euclid(1_000_000);
    let formatted = OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|it| it.format(&Rfc3339).ok());
    formatted.unwrap_or_else(|| seconds.to_string())
}

/// Prints help and version on stdout, and wrong usage on stderr.
fn explain_usage(error: &clap::Error) -> ExitCode {
    let wrong = error.use_stderr();
    let printed = error.print().is_ok();
    match (wrong, printed) {
        (true, _) => ExitCode::from(EX_USAGE),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    }
}

/// Says a result: a line on stdout.
fn say(line: impl Display) -> Result<(), CliError> {
    writeln!(io::stdout(), "{line}").map_err(CliError::Output)
}

/// Says a fault: a line on stderr. If nobody takes it there is nobody left to tell.
fn complain(line: impl Display) {
    writeln!(io::stderr(), "{line}").ok();
}

#[cfg(test)]
mod tests {
    use super::{Cli, Command, cas, certs, check, confos, devices, pubs, subs};
    use clap::{CommandFactory, Parser, error::ErrorKind};

    fn parse(line: &str) -> Result<Cli, ErrorKind> {
        Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.kind())
    }

    #[test]
    fn is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serves_without_a_command() {
        assert!(parse("m0v").unwrap().command.is_none());
        assert!(matches!(parse("m0v serve").unwrap().command, Some(Command::Serve)));
    }

    #[test]
    fn takes_config_before_and_after_the_command() {
        for line in ["m0v --config a.toml check", "m0v check --config a.toml", "m0v check --config=a.toml"] {
            let cli = parse(line).unwrap();
            assert_eq!(cli.config.as_deref(), Some("a.toml".as_ref()), "{line}");
            assert!(matches!(cli.command, Some(Command::Check(check::Args { print_config: false }))));
        }
    }

    #[test]
    fn reads_devices() {
        for (line, id, hash) in [
            ("m0v pub add", None, None),
            ("m0v pub add --id 17", Some(17), None),
            ("m0v pub add --id 17 --hash -5", Some(17), Some(-5)),
            ("m0v pub add --hash=9223372036854775807", None, Some(i64::MAX)),
        ] {
            let Some(Command::Pub(pubs::Command::Add(add))) = parse(line).unwrap().command else {
                panic!("{line}");
            };
            assert_eq!((add.id, add.hash), (id, hash), "{line}");
        }
        assert!(matches!(
            parse("m0v pub show 3").unwrap().command,
            Some(Command::Pub(pubs::Command::Show { id: 3 }))
        ));
    }

    #[test]
    fn reads_users_and_conflicts() {
        let Some(Command::Sub(subs::Command::Add(add))) =
            parse("m0v sub add a@b.c --name Ann --phone +49-1").unwrap().command
        else {
            panic!("no sub add")
        };
        assert_eq!(
            (add.email.as_str(), add.name.as_deref(), add.phone.as_deref()),
            ("a@b.c", Some("Ann"), Some("+49-1"))
        );
        let Some(Command::Confo(confos::Command::Resolve(resolve))) =
            parse("m0v confo resolve -5 --owner a@b.c").unwrap().command
        else {
            panic!("no confo resolve")
        };
        assert_eq!((resolve.hash, resolve.owner.as_str()), (-5, "a@b.c"));
        for (line, wanted) in [("m0v confo list", false), ("m0v confo list --conflicts", true)] {
            let Some(Command::Confo(confos::Command::List { conflicts })) = parse(line).unwrap().command
            else {
                panic!("{line}")
            };
            assert_eq!(conflicts, wanted, "{line}");
        }
    }

    #[test]
    fn reads_cas_certificates_and_devices() {
        let Some(Command::Ca(cas::Command::Add(add))) = parse("m0v ca add a.pem --pending").unwrap().command
        else {
            panic!("no ca add")
        };
        assert!(add.pending && add.file.as_os_str() == "a.pem");
        let Some(Command::Cert(certs::Command::Add(add))) =
            parse("m0v cert add a.pem --device d --role service").unwrap().command
        else {
            panic!("no cert add")
        };
        assert_eq!((add.device.as_deref(), add.role), (Some("d"), certs::RoleWord::Service));
        let line = "m0v cert issue d --csr a.csr --out here";
        let Some(Command::Cert(certs::Command::Issue(issue))) = parse(line).unwrap().command else {
            panic!("no cert issue")
        };
        assert!(issue.csr.is_some() && issue.out.is_some() && issue.model.is_none());
        let Some(Command::Device(devices::Command::Link { device, pub_id })) =
            parse("m0v device link d 7").unwrap().command
        else {
            panic!("no device link")
        };
        assert_eq!((device.as_str(), pub_id), ("d", 7));
    }

    #[test]
    fn refuses_what_it_cannot_mean() {
        for (line, kind) in [
            ("m0v sevre", ErrorKind::InvalidSubcommand),
            ("m0v serve --port 1", ErrorKind::UnknownArgument),
            ("m0v pub", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
            ("m0v pub show", ErrorKind::MissingRequiredArgument),
            ("m0v pub show x", ErrorKind::ValueValidation),
            ("m0v pub add --id 0", ErrorKind::ValueValidation),
            ("m0v pub add --id -1", ErrorKind::ValueValidation),
            ("m0v pub add --hash 0", ErrorKind::ValueValidation),
            ("m0v sub add", ErrorKind::MissingRequiredArgument),
            ("m0v sub add nobody", ErrorKind::ValueValidation),
            ("m0v confo resolve 5", ErrorKind::MissingRequiredArgument),
            ("m0v confo resolve x --owner a@b.c", ErrorKind::ValueValidation),
            ("m0v ca", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
            ("m0v cert add a.pem --role king", ErrorKind::InvalidValue),
            ("m0v device link d 0", ErrorKind::ValueValidation),
            ("m0v audit --limit 0", ErrorKind::ValueValidation),
            ("m0v --version", ErrorKind::DisplayVersion),
            ("m0v --help", ErrorKind::DisplayHelp),
        ] {
            assert_eq!(parse(line).unwrap_err(), kind, "{line}");
        }
    }
}
