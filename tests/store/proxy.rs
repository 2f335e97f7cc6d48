//! A wire between m0v and PostgreSQL that can be cut where a batch commits, or spoil a BEGIN.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What happens to the message that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It does not arrive.
    BeforeIt,
    /// It is executed; its answer does not arrive.
    AfterIt,
    /// The client is cut off at once; it arrives a while later.
    BeforeItButItArrivesLate,
    /// Not a cut: it fails, what was sent behind it arrives.
    Spoil,
}

/// The message that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A batch in one statement, which commits it.
    Batch,
    /// The look afterwards: what became of each row.
    Look,
    /// The BEGIN of a batch in parts.
    Begin,
    /// The COMMIT of a batch in parts.
    Commit,
}

/// Messages as tokio-postgres sends them: type, length, text, NUL.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
const BEGIN: &[u8] = b"Q\0\0\0\x0aBEGIN\0";

/// Inside of the only Binds with eleven (a batch) and eight (a look) parameters, all binary.
const ELEVEN: &[u8] = b"\0\x0b\0\x01\0\x01\0\x01\0\x01\0\x01\0\x01\0\x01\0\x01\0\x01\0\x01\0\x01\0\x0b";
const EIGHT: &[u8] = b"\0\x08\0\x01\0\x01\0\x01\0\x01\0\x01\0\x01\0\x01\0\x01\0\x08";

impl Moment {
    fn is_in(self, bytes: &[u8]) -> bool {
        let message = match self {
            Self::Batch => ELEVEN,
            Self::Look => EIGHT,
            Self::Begin => BEGIN,
            Self::Commit => COMMIT,
        };
        find(bytes, message).is_some()
    }
}

pub(crate) struct Proxy {
    address: SocketAddr,
    next: Arc<Mutex<Option<(Moment, Cut)>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let next = Arc::new(Mutex::new(None));
        let cuts = Arc::clone(&next);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await {
                    tokio::spawn(carry(client, server, Arc::clone(&cuts)));
                }
            }
        });
        Self { address, next, task }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn cut(&self, moment: Moment, cut: Cut) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some((moment, cut));
    }

    /// Whether the cut was made.
    pub(crate) fn was_cut(&self) -> bool {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, next: Arc<Mutex<Option<(Moment, Cut)>>>) {
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Some(bytes) = read.ok().filter(|count| *count > 0).map(|count| &mut up[..count]) else { return };
                let cut = due(bytes, &next);
                match cut {
                    Some(Cut::BeforeIt) => return,
                    Some(Cut::AfterIt) => {
                        server.write_all(bytes).await.expect("the server is there");
                        assert!(server.read(&mut down).await.is_ok_and(|count| count > 0), "the server answers");
                        return;
                    }
                    Some(Cut::BeforeItButItArrivesLate) => {
                        drop(client);
                        tokio::time::sleep(Duration::from_millis(500)).await;
                        server.write_all(bytes).await.expect("the server is there");
                        assert!(server.read(&mut down).await.is_ok_and(|count| count > 0), "the server answers");
                        return;
                    }
                    Some(Cut::Spoil) => {
                        let place = find(bytes, b"BEGIN").expect("only a BEGIN can be spoiled");
                        bytes[place..place + 5].copy_from_slice(b"BEGUN");
                        server.write_all(bytes).await.expect("the server is there");
                    }
                    None => if server.write_all(bytes).await.is_err() { return },
                }
            }
            read = server.read(&mut down) => {
                let Some(bytes) = read.ok().filter(|count| *count > 0).map(|count| &down[..count]) else { return };
                if client.write_all(bytes).await.is_err() { return }
            }
        }
    }
}

/// Takes the cut that is ordered, if its moment has come.
fn due(bytes: &[u8], next: &Mutex<Option<(Moment, Cut)>>) -> Option<Cut> {
    let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
    next.take_if(|(moment, _)| moment.is_in(bytes)).map(|(_, cut)| cut)
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
