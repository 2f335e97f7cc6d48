//! How a connection is made: address, TLS, session settings, and the check that the database
//! keeps what it acknowledges.

use super::{
    super::StoreError,
    PostgresOptions,
    checkout::Checkout,
    fault::Fault,
    sqlstate::explain,
    tls::{Trust, connector},
};
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use std::{
    fmt,
    pin::Pin,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::timeout;
use tokio_postgres::{
    Client, Config, Error, SimpleQueryMessage,
    config::{Host, SslMode, TargetSessionAttrs},
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Name resolution, TCP, TLS and login together; a local database takes milliseconds, one
/// across an ocean a second.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);

/// A peer that vanished without a word is noticed after about this long.
const SILENCE: Duration = Duration::from_secs(10);

/// Session settings. The server's own deadlines end what we stopped waiting for, so that no
/// lock outlives us: above `CALL_DEADLINE` and `WRITE_DEADLINE`, since ours shall come first.
/// `synchronous_commit` is raised to `on`, never lowered from `remote_apply`.
const SESSION: &str = "
    SET default_transaction_isolation = 'read committed';
    SET statement_timeout = '10s';
    SET idle_in_transaction_session_timeout = '10s';
    SELECT set_config('synchronous_commit', 'on', false)
     WHERE current_setting('synchronous_commit') <> 'remote_apply';
    SELECT current_setting('fsync'), current_setting('full_page_writes'),
           current_setting('server_version_num')::int >= 130000 AS supported,
           (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit')";

/// The half of a connection that moves its bytes.
pub(super) type Driven = tokio_postgres::Connection<
    tokio_postgres::Socket,
    <MakeRustlsConnect as MakeTlsConnect<tokio_postgres::Socket>>::Stream,
>;

/// Makes connections, all alike.
pub(super) struct Dialer {
    config: Config,
    tls: MakeRustlsConnect,
    target: Target,
    allow_unsafe: bool,
    shouted: AtomicBool,
    safety: Mutex<Vec<(&'static str, bool)>>,
}

/// Settings without which an acknowledged commit may be lost or broken. The last one is m0v's to
/// raise for itself; of the others it depends on the database.
const SAFETY: [(&str, usize); 3] = [("fsync", 0), ("full_page_writes", 1), ("synchronous_commit", 3)];

impl Dialer {
    /// # Errors
    /// [`StoreError::Refused`] when the URL or the CA file cannot be used.
    pub(super) fn new(options: PostgresOptions) -> Result<Self, StoreError> {
        let PostgresOptions { url, ca_file, allow_unsafe, .. } = options;
        let mut config = parse(&url)?;
        let on_tcp = config.get_hosts().iter().all(|host| matches!(host, Host::Tcp(_)));
        if ca_file.is_some() && on_tcp && config.get_ssl_mode() == SslMode::Prefer {
            config.ssl_mode(SslMode::Require);
        }
        let trust = match (&ca_file, config.get_ssl_mode()) {
            (Some(path), _) => Trust::File(path),
            (None, SslMode::Require) => Trust::System,
            (None, _) => Trust::Anyone,
        };
        Ok(Self {
            tls: connector(&trust)?,
            target: Target::of(&config),
            config,
            allow_unsafe,
            shouted: AtomicBool::new(false),
            safety: Mutex::default(),
        })
    }

    /// Where this leads, for messages.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Opens a connection outside of the pool; whoever holds it must [`drive`] it.
    pub(super) async fn dial(&self) -> Result<(Client, Wire), StoreError> {
        let (client, connection) = self.connect().await?;
        let mut wire: Wire = Box::pin(connection);
        drive(&mut wire, async { Ok(self.set_up(&client).await?) })
            .await
            .map_err(|fault: Fault| fault.explain(&self.target))?;
        Ok((client, wire))
    }

    /// A connection as it comes, for a caller who drives it: nothing happens on `client`
    /// while nobody polls the other half.
    pub(super) async fn connect(&self) -> Result<(Client, Driven), StoreError> {
        let connected = timeout(CONNECT_DEADLINE, self.config.connect(self.tls.clone())).await;
        connected.map_err(|_| self.silent())?.map_err(|error| explain(&error, &self.target))
    }

    /// A pool of at most `size` connections; each is set up when it is first taken.
    pub(super) fn pool(&self, size: usize) -> Result<Pool, StoreError> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(self.config.clone(), self.tls.clone(), recycling);
        Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(CONNECT_DEADLINE))
            .build()
            .map_err(|error| StoreError::Refused(error.to_string()))
    }

    /// Takes a connection out of the pool, set up.
    pub(super) async fn take(&self, pool: &Pool) -> Result<Checkout, StoreError> {
        let object = pool.get().await.map_err(|error| match error {
            deadpool_postgres::PoolError::Backend(error) => explain(&error, &self.target),
            deadpool_postgres::PoolError::Timeout(_)
            | deadpool_postgres::PoolError::Closed
            | deadpool_postgres::PoolError::NoRuntimeSpecified
            | deadpool_postgres::PoolError::PostCreateHook(_) => self.silent(),
        })?;
        let is_new = Object::metrics(&object).recycle_count == 0;
        let checkout = Checkout::of(object);
        if is_new {
            self.set_up(&checkout).await?;
        }
        Ok(checkout)
    }

    /// Settles the session and checks that what the database acknowledges stays.
    ///
    /// # Errors
    /// [`StoreError::Unsafe`] when it does not, unless that is allowed.
    pub(super) async fn set_up(&self, client: &Client) -> Result<(), StoreError> {
        let answers = timeout(CONNECT_DEADLINE, client.simple_query(SESSION))
            .await
            .map_err(|_| self.silent())?
            .map_err(|error| explain(&error, &self.target))?;
        let last = answers.iter().rev().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let Some(row) = last else {
            return Err(StoreError::Unavailable(format!("{}: no answer to its settings", self.target)));
        };
        let safe = SAFETY.map(|(name, column)| (name, row.get(column).is_some_and(|value| value != "off")));
        *self.safety.lock().unwrap_or_else(PoisonError::into_inner) = safe.to_vec();
        if row.get(2) != Some("t") {
            return Err(StoreError::Refused(format!(
                "{}: it is older than version 13, the oldest that m0v supports",
                self.target
            )));
        }
        let off: Vec<&str> = ["fsync", "full_page_writes"]
            .into_iter()
            .enumerate()
            .filter(|(column, _)| row.get(*column) != Some("on"))
            .map(|(_, name)| name)
            .collect();
        if off.is_empty() { Ok(()) } else { self.judge_unsafe(&off.join(" and ")) }
    }

    /// The database's own settings, as last seen.
    pub(super) fn safety(&self) -> Vec<(&'static str, bool)> {
        self.safety.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn judge_unsafe(&self, off: &str) -> Result<(), StoreError> {
        let text = format!("{}: off: {off}; a power cut can lose or break what was thanked", self.target);
        if !self.allow_unsafe {
            return Err(StoreError::Unsafe(format!("{text}; turn it on, or set [database] allow_unsafe")));
        }
        if !self.shouted.swap(true, Ordering::Relaxed) {
            log::error!("THE DATABASE IS NOT DURABLE, allowed by [database] allow_unsafe: {text}");
        }
        Ok(())
    }

    fn silent(&self) -> StoreError {
        let seconds = CONNECT_DEADLINE.as_secs();
        StoreError::Unavailable(format!("{}: no connection within {seconds} s", self.target))
    }
}

/// The side of a connection that reads and writes the socket.
pub(super) type Wire = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// Does work on a connection and moves its bytes meanwhile, in one task: no other one has to be
/// woken for each message, which would cost a small batch more time than the database does.
/// After a failure the connection is spent.
pub(super) async fn drive<T>(
    wire: &mut Wire,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    tokio::select! {
        biased;
        result = work => result,
        Err(error) = wire => Err(error.into()),
        else => Err(StoreError::Unavailable("the connection ended".into()).into()),
    }
}

/// Host, port, database and user: what messages may say of a URL.
#[derive(Clone, Debug)]
pub(super) struct Target(String);

impl Target {
    fn of(config: &Config) -> Self {
        let ports = config.get_ports();
        let addresses: Vec<String> = config
            .get_hosts()
            .iter()
            .enumerate()
            .map(|(index, host)| {
                let port = ports.get(index).or_else(|| ports.first()).copied().unwrap_or(5432);
                match host {
                    Host::Tcp(name) => format!("{name}:{port}"),
                    Host::Unix(path) => format!("{}:{port}", path.display()),
                }
            })
            .collect();
        let user = config.get_user().unwrap_or("(this process's user)");
        let database = config.get_dbname().unwrap_or(user);
        Self(format!("database \"{database}\" at {} as user \"{user}\"", addresses.join(",")))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The URL's text never reaches a message, nor does the parser's: it may quote a password.
fn parse(url: &str) -> Result<Config, StoreError> {
    let refused = |what: &str| StoreError::Refused(format!("[database] url {what}"));
    let url =
        url.replace("sslmode=verify-full", "sslmode=require").replace("sslmode=verify-ca", "sslmode=require");
    if url.contains("://") && url.matches('@').count() > 1 {
        // The parser ends the password at the first one: its rest would be taken for a host.
        return Err(refused("has more than one @: write one in a password as %40"));
    }
    let mut config: Config = url.parse().map_err(|_| {
        refused(
            "is not understood: expected postgres://user:password@host:port/database?sslmode=disable|prefer|require \
             (special characters in the password as %XX)",
        )
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(refused("names no host"));
    }
    if config.get_application_name().is_none() {
        config.application_name("m0v");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_DEADLINE);
    }
    if config.get_hosts().len() > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite); // of several, the primary
    }
    config.keepalives_idle(SILENCE).tcp_user_timeout(SILENCE);
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::{super::PostgresOptions, Dialer};

    fn dialer(url: &str) -> Result<Dialer, String> {
        let options =
            PostgresOptions { url: url.into(), ca_file: None, max_connections: 1, allow_unsafe: false };
        Dialer::new(options).map_err(|error| error.to_string())
    }

    #[test]
    fn names_the_target_without_the_password() {
        let target = |url| dialer(url).map(|dialer| dialer.target().to_string());
        assert_eq!(
            target("postgres://m0v:s3cret@db.example:5433/meters?sslmode=disable").unwrap(),
            "database \"meters\" at db.example:5433 as user \"m0v\""
        );
        assert_eq!(
            target("host=/run/pg,10.0.0.2 user=u password=s3cret dbname=d port=5432").unwrap(),
            "database \"d\" at /run/pg:5432,10.0.0.2:5432 as user \"u\""
        );
    }

    #[test]
    fn never_echoes_a_url_it_cannot_read() {
        for url in [
            "postgres://u:s3cret@h:port/d",
            "postgres://u:p@s3cret@h/d",
            "postgres://u@h/d?s3cret=1",
            "s3cret",
            "user=u password='s3cret",
        ] {
            let text = dialer(url).err().unwrap();
            assert!(text.contains("[database] url"), "{text}");
            assert!(!text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn takes_the_sslmodes_people_write() {
        for mode in ["disable", "prefer", "require", "verify-ca", "verify-full"] {
            assert!(dialer(&format!("postgres://u@h/d?sslmode={mode}")).is_ok(), "{mode}");
        }
    }
}
