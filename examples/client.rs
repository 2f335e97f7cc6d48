//! Plays a device and an app against a running m0v, and prints each line sent and received.
//!
//! `cargo run --release --example client` tells the whole story: a device confirms that it was provisioned,
//! the app asks for it and learns its id, the device sends readings, and each must be answered `Thank you`.
//! With `--tunnel` all of it goes through m0v's CONNECT proxy, as from behind a site gateway. The exit code is 0 only if all of it went as it should.

#[path = "client/tunnel.rs"]
mod tunnel;

use clap::{Args, Parser, Subcommand};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use serde_json::{Map, Value, json};
use std::{
    fmt,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tunnel::{Tunnel, Wire};

/// Longest wait for the server to take a connection, a line, or to answer one.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest reply that is read: replies are short, an endless one is a fault.
const MAX_REPLY_BYTES: u64 = 64 * 1024;

#[derive(Parser)]
#[command(about = "Plays a device and an app against a running m0v", version)]
struct Options {
    /// The server's name or address; its certificate must be for it
    #[arg(long, default_value = "127.0.0.1", global = true)]
    host: String,
    /// Where devices send readings
    #[arg(long, default_value_t = 38981, global = true)]
    meter_port: u16,
    /// Where devices confirm, and apps ask
    #[arg(long, default_value_t = 38979, global = true)]
    confirm_port: u16,
    /// PEM file with the CA (or root) that the server's certificate must come from
    #[arg(long, value_name = "FILE", default_value = "m0v-data/tls/ca.pem", global = true)]
    ca: PathBuf,
    /// Go through the tunnel that listens at HOST:PORT; --cert and --key are the gateway's, shown there
    #[arg(long, value_name = "HOST:PORT", requires = "cert", global = true)]
    tunnel: Option<String>,
    /// PEM file with a client certificate and its chain
    #[arg(long, value_name = "FILE", requires = "key", global = true)]
    cert: Option<PathBuf>,
    /// PEM file with the client certificate's private key
    #[arg(long, value_name = "FILE", requires = "cert", global = true)]
    key: Option<PathBuf>,
    /// Readings to send
    #[arg(long, default_value_t = 3, global = true)]
    count: u32,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// A device confirms, the app learns its id, the device sends readings (default)
    Story(Provisioning),
    /// A device confirms that it was provisioned
    Confo(Provisioning),
    /// The app asks for a confirmation
    Query(Query),
    /// A device sends readings
    Packet(Packet),
}

#[derive(Args)]
struct Provisioning {
    /// What the device calls itself
    #[arg(long, default_value = "Movprov")]
    device_name: String,
    /// The network it joined
    #[arg(long, default_value = "M0V")]
    ssid: String,
    /// The token the app gave it (any number but 0)
    #[arg(long, default_value_t = 13580, allow_negative_numbers = true)]
    hash: i64,
    /// Who configured it
    #[arg(long)]
    email: Option<String>,
    /// Unix seconds; default: now
    #[arg(long)]
    timestamp: Option<i64>,
}

#[derive(Args)]
struct Query {
    /// What the device calls itself
    #[arg(long, default_value = "Movprov")]
    device_name: String,
    /// The network it joined
    #[arg(long, default_value = "M0V")]
    ssid: String,
    /// Ask for the confirmation of exactly this token
    #[arg(long, allow_negative_numbers = true)]
    token: Option<i64>,
}

#[derive(Args)]
#[command(group(clap::ArgGroup::new("who").required(true).multiple(true).args(["id", "hash"])))]
struct Packet {
    /// The device's id
    #[arg(long)]
    id: Option<i64>,
    /// The device's token
    #[arg(long, allow_negative_numbers = true)]
    hash: Option<i64>,
    /// Unix seconds; default: now
    #[arg(long)]
    timestamp: Option<i64>,
    /// Whether the installation is protected
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    status: bool,
    /// Volts
    #[arg(long, default_value_t = 231.4, allow_negative_numbers = true)]
    voltage: f64,
    /// Hertz
    #[arg(long, default_value_t = 49.98)]
    freq: f64,
    /// Number of the first reading; the next ones count up
    #[arg(long)]
    seq: Option<i64>,
    /// Another field, as KEY=JSON; may be repeated
    #[arg(long, value_name = "KEY=JSON", value_parser = extra_field)]
    extra: Vec<(String, Value)>,
}

fn main() -> ExitCode {
    match play(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("client: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn play(options: &Options) -> Result<(), Fault> {
    let server = Server::new(options)?;
    match &options.part {
        None => story(&server, options.count, &Provisioning::default()),
        Some(Part::Story(provisioning)) => story(&server, options.count, provisioning),
        Some(Part::Confo(provisioning)) => confirm(&server, provisioning),
        Some(Part::Query(query)) => ask(&server, query).map(drop),
        Some(Part::Packet(packet)) => send(&server, options.count, packet),
    }
}

fn story(server: &Server, count: u32, provisioning: &Provisioning) -> Result<(), Fault> {
    confirm(server, provisioning)?;
    let query = Query {
        device_name: provisioning.device_name.clone(),
        ssid: provisioning.ssid.clone(),
        token: Some(provisioning.hash),
    };
    let id = ask(server, &query)?.ok_or_else(|| Fault::Answer("the answer has no id".to_owned()))?;
    let packet = Packet {
        id: Some(id),
        hash: None,
        timestamp: None,
        status: true,
        voltage: 231.4,
        freq: 49.98,
        seq: Some(1),
        extra: Vec::new(),
    };
    send(server, count, &packet)?;
    println!("The whole story: device {id} confirmed, the app learned its id, {count} readings are stored.");
    Ok(())
}

/// A device says that it was provisioned.
fn confirm(server: &Server, provisioning: &Provisioning) -> Result<(), Fault> {
    if provisioning.hash == 0 {
        return Err(Fault::Answer("a hash of 0 means none: that would be a query".to_owned()));
    }
    let mut line = json!({
        "deviceName": provisioning.device_name,
        "timestamp": provisioning.timestamp.unwrap_or_else(now),
        "ssid": provisioning.ssid,
        "hash": provisioning.hash,
    });
    if let Some(email) = &provisioning.email {
        line["email"] = json!(email);
    }
    let reply = server.connect(server.confirm_port)?.exchange(&line)?;
    if reply.starts_with("!OK") { Err(Fault::Answer(format!("not confirmed: {reply}"))) } else { Ok(()) }
}

/// The app asks; returns the device's id.
fn ask(server: &Server, query: &Query) -> Result<Option<i64>, Fault> {
    let mut line = json!({"deviceName": query.device_name, "timestamp": now(), "ssid": query.ssid});
    if let Some(token) = query.token {
        line["token"] = json!(token);
    }
    let reply = server.connect(server.confirm_port)?.exchange(&line)?;
    let answer: Value =
        serde_json::from_str(&reply).map_err(|_| Fault::Answer(format!("no confirmation: {reply}")))?;
    if answer["conflict"] == true {
        return Err(Fault::Answer("two users configured this device: a conflict has no id".to_owned()));
    }
    Ok(answer["id"].as_i64())
}

/// A device sends readings over one connection.
fn send(server: &Server, count: u32, packet: &Packet) -> Result<(), Fault> {
    let mut meter = server.connect(server.meter_port)?;
    let mut refused = 0;
    for number in 0..count {
        let reply = meter.exchange(&packet.line(number))?;
        // The words of thanks can be configured, those of a refusal cannot.
        refused += u32::from(reply.starts_with("!OK"));
    }
    if refused > 0 { Err(Fault::Refused { refused, count }) } else { Ok(()) }
}

impl Packet {
    /// The reading with this number.
    fn line(&self, number: u32) -> Value {
        let mut line = Map::new();
        line.extend(self.id.map(|id| ("id".to_owned(), json!(id))));
        line.extend(self.hash.map(|hash| ("hash".to_owned(), json!(hash))));
        line.insert("timestamp".to_owned(), json!(self.timestamp.unwrap_or_else(now)));
        line.extend(self.seq.map(|seq| ("seq".to_owned(), json!(seq.saturating_add(i64::from(number))))));
        line.insert("status".to_owned(), json!(self.status));
        line.insert("voltage".to_owned(), json!(self.voltage));
        line.insert("freq".to_owned(), json!(self.freq));
        line.extend(self.extra.iter().cloned());
        Value::Object(line)
    }
}

impl Default for Provisioning {
    /// As on a command line that names none of it.
    fn default() -> Self {
        Self {
            device_name: "Movprov".to_owned(),
            ssid: "M0V".to_owned(),
            hash: 13580,
            email: None,
            timestamp: None,
        }
    }
}

/// How the server is reached and recognised.
struct Server {
    host: String,
    meter_port: u16,
    confirm_port: u16,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    tunnel: Option<Tunnel>,
}

impl Server {
    fn new(options: &Options) -> Result<Self, Fault> {
        let host = options.host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host.clone())
            .map_err(|_| Fault::Setup(format!("{host} is neither a name nor an address")))?;
        let mut roots = RootCertStore::empty();
        for root in certificates(&options.ca, CA_ADVICE)? {
            roots.add(root).map_err(|e| Fault::Setup(format!("{}: {e}", options.ca.display())))?;
        }
        let anonymous = ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
        let known = match (&options.cert, &options.key) {
            (Some(cert), Some(key)) => Some(with_certificate(roots, cert, key)?),
            _ => None,
        };
        // Whose certificate it is: the gateway's in front of the device's own TLS, else the device's.
        let (tls, tunnel) = match (&options.tunnel, known) {
            (Some(place), Some(known)) => (anonymous, Some(Tunnel::new(place, known)?)),
            (_, known) => (known.unwrap_or(anonymous), None),
        };
        let (meter_port, confirm_port) = (options.meter_port, options.confirm_port);
        Ok(Self { host, meter_port, confirm_port, name, tls: Arc::new(tls), tunnel })
    }

    fn connect(&self, port: u16) -> Result<Connection, Fault> {
        let place = if self.host.contains(':') {
            format!("[{}]:{port}", self.host)
        } else {
            format!("{}:{port}", self.host)
        };
        let mut wire: Box<dyn Wire> = match &self.tunnel {
            Some(tunnel) => tunnel.connect(&place)?,
            None => Box::new(dial(&self.host, port, &place)?),
        };
        let connection = shake_hands(&self.tls, &self.name, &mut wire, &place)?;
        let stream = BufReader::new(StreamOwned::new(connection, wire));
        Ok(Connection { stream, port, place })
    }
}

fn with_certificate(roots: RootCertStore, cert: &Path, key: &Path) -> Result<ClientConfig, Fault> {
    let chain = certificates(cert, "")?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|e| Fault::Setup(format!("{}: no private key: {e}", key.display())))?;
    let tls = ClientConfig::builder().with_root_certificates(roots);
    tls.with_client_auth_cert(chain, private)
        .map_err(|e| Fault::Setup(format!("{} and its key: {e}", cert.display())))
}

fn shake_hands(
    tls: &Arc<ClientConfig>,
    name: &ServerName<'static>,
    wire: &mut impl Wire,
    place: &str,
) -> Result<ClientConnection, Fault> {
    let connection = ClientConnection::new(Arc::clone(tls), name.clone());
    let mut connection = connection.map_err(|e| Fault::Setup(e.to_string()))?;
    while connection.is_handshaking() {
        connection.complete_io(wire).map_err(|e| Fault::handshake(place, e))?;
    }
    Ok(connection)
}

/// A TCP connection whose reads and writes end in time.
fn dial(host: &str, port: u16, place: &str) -> Result<TcpStream, Fault> {
    let socket = open(host, port, place)?;
    let timed = socket.set_read_timeout(Some(PATIENCE));
    let timed = timed.and_then(|()| socket.set_write_timeout(Some(PATIENCE)));
    timed.map_err(|cause| Fault::Connection { place: place.to_owned(), cause })?;
    Ok(socket)
}

/// Tries every address of the host.
fn open(host: &str, port: u16, place: &str) -> Result<TcpStream, Fault> {
    let addresses =
        (host, port).to_socket_addrs().map_err(|e| Fault::Setup(format!("{host} has no address: {e}")))?;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(socket) => return Ok(socket),
            Err(e) => last = e,
        }
    }
    Err(match last.kind() {
        io::ErrorKind::ConnectionRefused => Fault::NothingListens(place.to_owned()),
        _ => Fault::Connection { place: place.to_owned(), cause: last },
    })
}

/// An established TLS connection to one port.
struct Connection {
    stream: BufReader<StreamOwned<ClientConnection, Box<dyn Wire>>>,
    port: u16,
    place: String,
}

impl Connection {
    /// Sends a line and returns the reply; prints both.
    fn exchange(&mut self, line: &Value) -> Result<String, Fault> {
        println!("{} > {line}", self.port);
        let mut reply = Vec::new();
        let result = self.try_exchange(line, &mut reply);
        result.map_err(|cause| Fault::Connection { place: self.place.clone(), cause })?;
        let reply = String::from_utf8_lossy(&reply).trim_end_matches(['\r', '\n']).to_owned();
        println!("{} < {reply}", self.port);
        Ok(reply)
    }

    fn try_exchange(&mut self, line: &Value, reply: &mut Vec<u8>) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(format!("{line}\n").as_bytes())?;
        stream.flush()?;
        (&mut self.stream).take(MAX_REPLY_BYTES).read_until(b'\n', reply)?;
        if reply.ends_with(b"\n") {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the server closed the connection without an answer",
        ))
    }
}

impl Drop for Connection {
    /// Says goodbye, so that the server's log does not speak of a broken connection.
    fn drop(&mut self) {
        let stream = self.stream.get_mut();
        stream.conn.send_close_notify();
        stream.flush().ok();
    }
}

/// What to do about a CA that is not there.
const CA_ADVICE: &str = ": start the server once with `cargo run --release` (it makes its CA), \
    or name the CA with --ca FILE";

/// All certificates of a PEM file; at least one.
fn certificates(file: &Path, advice: &str) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let shown = file.display();
    if !file.exists() {
        return Err(Fault::Setup(format!("{shown} does not exist{advice}")));
    }
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(Fault::Setup(format!("{shown} holds no certificate"))),
        Err(e) => Err(Fault::Setup(format!("{shown} cannot be read: {e}"))),
    }
}

/// `KEY=JSON`; what is no JSON is taken as text.
fn extra_field(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=JSON")?;
    Ok((key.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| json!(value))))
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or_default()
}

/// Why the story did not end well.
#[derive(Debug)]
enum Fault {
    /// Options or files.
    Setup(String),
    NothingListens(String),
    Untrusted {
        place: String,
        cause: rustls::CertificateError,
    },
    Connection {
        place: String,
        cause: io::Error,
    },
    /// The server said no.
    Answer(String),
    Refused {
        refused: u32,
        count: u32,
    },
}

impl Fault {
    fn handshake(place: &str, cause: io::Error) -> Self {
        let place = place.to_owned();
        match cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(cause)) => Self::Untrusted { place, cause: cause.clone() },
            _ => Self::Connection { place, cause },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(what) | Self::Answer(what) => f.write_str(what),
            Self::NothingListens(place) => {
                write!(f, "nothing listens on {place}: start the server with `cargo run --release`")
            }
            Self::Untrusted { place, cause } => write!(
                f,
                "the certificate of {place} is not trusted: {cause}; is --ca the CA of this server, and --host a \
                 name in its certificate?"
            ),
            // What the kernel calls a read that took too long depends on the system.
            Self::Connection { place, cause }
                if matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                write!(f, "{place} does not answer: nothing for {} s", PATIENCE.as_secs())
            }
            Self::Connection { place, cause } => write!(f, "the connection to {place} broke: {cause}"),
            Self::Refused { refused, count } => write!(f, "{refused} of {count} readings were not thanked"),
        }
    }
}
