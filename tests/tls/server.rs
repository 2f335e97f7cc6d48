//! A tiny echo behind the room's acceptor, and the programs that talk to it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use m0v::tls::{
    Acceptor, AcceptorOptions, CertifiedChain, ChainOptions, Failure, Keys, LocalFiles, Session,
    ensure_local, load_files,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What one connection came to.
pub(crate) type Outcome = Result<Session, Failure>;

/// The local certificate all tests of this process share.
pub(crate) static LOCAL: LazyLock<(TempDir, LocalFiles)> = LazyLock::new(|| {
    let dir = TempDir::new().unwrap();
    let files = ensure_local(dir.path(), &["device.example".into()], SystemTime::now()).unwrap();
    (dir, files)
});

pub(crate) fn chain() -> CertifiedChain {
    let (_, files) = &*LOCAL;
    load_files(&files.chain, &files.key, &ChainOptions::default(), SystemTime::now()).unwrap().0
}

pub(crate) fn ca() -> &'static Path {
    &LOCAL.1.ca
}

/// An echo server on a free port of the loopback.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) keys: Arc<Keys>,
    pub(crate) acceptor: Arc<Acceptor>,
    outcomes: mpsc::Receiver<Outcome>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(options: AcceptorOptions) -> Self {
        let keys = Keys::new(chain());
        let acceptor = Arc::new(Acceptor::new(Arc::clone(&keys), options).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, outcomes) = mpsc::channel(16);
        let accepting = Arc::clone(&acceptor);
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(Arc::clone(&accepting), socket, sender.clone()));
            }
        });
        Self { address, keys, acceptor, outcomes, task }
    }

    /// What the next connection to finish its handshake came to.
    pub(crate) async fn outcome(&mut self) -> Outcome {
        timeout(Duration::from_secs(20), self.outcomes.recv()).await.unwrap().unwrap()
    }

    pub(crate) async fn session(&mut self) -> Session {
        self.outcome().await.unwrap_or_else(|failure| panic!("the peer {failure}"))
    }

    pub(crate) async fn failure(&mut self) -> Failure {
        self.outcome().await.expect_err("the handshake must fail")
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Runs `hello_client.py` against this server; returns whether it succeeded and what it said.
    pub(crate) async fn device(&self, arguments: &[&str]) -> (bool, String) {
        Peers(self.address).device(arguments).await
    }

    /// Runs any client; `{port}` and `{ca}` among its words are put in.
    pub(crate) async fn client(&self, words: &[&str]) -> (bool, String) {
        let (port, ca) = (self.address.port().to_string(), ca().to_str().unwrap());
        let words: Vec<String> =
            words.iter().map(|word| word.replace("{port}", &port).replace("{ca}", ca)).collect();
        let mut command = program(&words[0]);
        command.args(&words[1..]).current_dir(env!("CARGO_MANIFEST_DIR"));
        run(command, "").await
    }

    /// Runs `openssl s_client`, which must trust the local CA, types `input`, and has the server
    /// close.
    pub(crate) async fn openssl(&self, arguments: &[&str], input: &str) -> (bool, String) {
        Peers(self.address).openssl(arguments, input).await
    }
}

/// The programs that talk to an address.
pub(crate) struct Peers(pub(crate) SocketAddr);

impl Peers {
    pub(crate) async fn device(&self, arguments: &[&str]) -> (bool, String) {
        let client = project("tests/peers/hello_client.py");
        let port = self.0.port().to_string();
        let mut command = program(python());
        command.arg(client).args(["127.0.0.1", &port]).args(arguments);
        run(command, "").await
    }

    pub(crate) async fn openssl(&self, arguments: &[&str], input: &str) -> (bool, String) {
        let mut command = program("openssl");
        command.args(["s_client", "-connect", &self.0.to_string(), "-verify_return_error", "-CAfile"]);
        command.arg(ca()).args(["-nocommands", "-ign_eof"]).args(arguments);
        run(command, &format!("{input}QUIT\n")).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Outcomes that nobody takes are forgotten.
async fn serve(acceptor: Arc<Acceptor>, socket: TcpStream, outcomes: mpsc::Sender<Outcome>) {
    socket.set_nodelay(true).unwrap();
    let accepted = timeout(Duration::from_secs(5), acceptor.accept(socket)).await;
    let mut stream = match accepted {
        Ok(Ok((stream, session))) => {
            outcomes.try_send(Ok(session)).ok();
            stream
        }
        Ok(Err(failure)) => return outcomes.try_send(Err(failure)).unwrap_or_default(),
        Err(_) => return,
    };
    let mut buf = vec![0; 32 * 1024];
    while let Ok(len) = stream.read(&mut buf).await {
        let said = &buf[..len];
        let (echo, more) = said.strip_suffix(b"QUIT\n").map_or((said, len > 0), |echo| (echo, false));
        stream.write_all(echo).await.unwrap();
        stream.flush().await.unwrap();
        if !more {
            break;
        }
    }
    stream.shutdown().await.ok();
}

pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Builds the meter clients of `firmware-notes/`; returns the folder they are in.
pub(crate) fn meter_clients() -> &'static Path {
    static READY: LazyLock<PathBuf> = LazyLock::new(|| {
        let out = target().join("peers");
        std::fs::create_dir_all(&out).unwrap();
        for client in ["mbedtls-client", "wolfssl-client"] {
            let folder = project("firmware-notes").join(client);
            let out = format!("OUT={}", out.display());
            let made = Command::new("make").arg("-sC").arg(folder).arg(out).status().unwrap();
            assert!(made.success(), "make {client} failed: run scripts/test");
        }
        out
    });
    &READY
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| project("target"), PathBuf::from)
}

/// The Python of `target/venv`, made on the first use.
fn python() -> &'static Path {
    static READY: LazyLock<PathBuf> = LazyLock::new(|| {
        let status = Command::new(project("tests/setup-venv.sh")).status().unwrap();
        assert!(status.success(), "tests/setup-venv.sh failed");
        target().join("venv/bin/python")
    });
    &READY
}

/// A program that is ended after half a minute.
fn program(path: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.arg("30").arg(path);
    command
}

/// Types `input` and reads until the program ends.
async fn run(mut command: Command, input: &str) -> (bool, String) {
    let input = input.to_owned();
    let done = tokio::task::spawn_blocking(move || {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
        child.wait_with_output().unwrap()
    });
    let done = done.await.unwrap();
    let text = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8_lossy(&text).into_owned())
}
