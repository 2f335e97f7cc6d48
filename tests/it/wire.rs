//! A wire between m0v and PostgreSQL that can be cut, or swallow everything.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

pub(crate) struct Wire {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    swallows: AtomicBool,
    cuts_later: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Wire {
    /// Leads to this port of the loopback, until the test process ends.
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let own = listener.local_addr().expect("bound").port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                for (from, to, is_up) in [(&client, &server, true), (&server, &client, false)] {
                    let (from, to) = (from.try_clone().expect("a handle"), to.try_clone().expect("a handle"));
                    shared.open.lock().expect("no panic").push(from.try_clone().expect("a handle"));
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || shared.carry(from, to, is_up));
                }
            }
        });
        Self { port: own, state }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection there is.
    pub(crate) fn cut(&self) {
        self.state.cut();
    }

    /// Cuts every connection as soon as the next bytes have reached the server: its answer is lost.
    pub(crate) fn cut_later(&self) {
        self.state.cuts_later.store(true, Ordering::SeqCst);
    }

    /// Holds back every byte in both directions, and says nothing.
    pub(crate) fn swallow(&self, swallows: bool) {
        self.state.swallows.store(swallows, Ordering::SeqCst);
    }
}

impl State {
    fn cut(&self) {
        for socket in self.open.lock().expect("no panic").drain(..) {
            // One that is closed already is what is wanted.
            socket.shutdown(Shutdown::Both).ok();
        }
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream, is_up: bool) {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            while self.swallows.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
            if is_up && self.cuts_later.swap(false, Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(20));
                self.cut();
            }
        }
        to.shutdown(Shutdown::Both).ok();
    }
}
