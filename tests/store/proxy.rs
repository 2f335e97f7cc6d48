//! A wire between m0v and PostgreSQL that can be cut at a COMMIT.

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

/// What happens to the next COMMIT that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It does not arrive.
    BeforeIt,
    /// It is executed; its answer does not arrive.
    AfterIt,
    /// The client is cut off at once; it arrives a while later.
    BeforeItButItArrivesLate,
}

/// The message as tokio-postgres sends it: type, length, text, NUL.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

pub(crate) struct Proxy {
    address: SocketAddr,
    next: Arc<Mutex<Option<Cut>>>,
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

    pub(crate) fn cut(&self, cut: Cut) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(cut);
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

async fn carry(mut client: TcpStream, mut server: TcpStream, next: Arc<Mutex<Option<Cut>>>) {
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Some(bytes) = read.ok().filter(|count| *count > 0).map(|count| &up[..count]) else { return };
                let is_commit = bytes.windows(COMMIT.len()).any(|window| window == COMMIT);
                let cut = if is_commit { next.lock().unwrap_or_else(PoisonError::into_inner).take() } else { None };
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
