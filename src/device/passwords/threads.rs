//! Threads of a low priority, one a core, and the two queues they take from in turn: so that
//! neither who registers nor who logs in keeps the other out, however many they are.
//!
//! Who waits is served in its order, for as long as brokers wait. Whoever gave up is not worked for,
//! so an overload costs nothing beyond the work that is wanted.

use super::NoVerdict;
use std::{
    collections::VecDeque,
    io,
    num::NonZeroUsize,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};

/// A job that was not begun by then is not done: RabbitMQ gives up after 15 s, and tells its client
/// that the password is wrong. An error is better, and the client that tries again finds its place.
const PATIENCE: Duration = Duration::from_secs(12);

/// Checks that may wait. It bounds memory (a job has 2 KB at most); [`PATIENCE`] bounds the time.
const MOST_CHECKS: usize = 16_384;

/// Passwords of new accounts that may wait: where no token is asked for, a stranger makes them.
const MOST_NEW: usize = 64;

/// Added to the threads' niceness.
const NICENESS: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

/// What a job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A client of a broker logs in.
    Check,
    /// An account is made.
    New,
}

/// The threads. Dropping it ends them, after the job each is at.
pub(super) struct Threads {
    queue: Arc<Queue>,
    handles: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    bell: Condvar,
}

#[derive(Default)]
struct Waiting {
    checks: VecDeque<Job>,
    new: VecDeque<Job>,
    /// Whose turn it is if both wait.
    is_turn_of_new: bool,
    is_closed: bool,
}

impl Threads {
    /// One for each core.
    pub(super) fn start() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let mut this = Self { queue: Arc::default(), handles: Vec::with_capacity(cores) };
        for number in 0..cores {
            let queue = Arc::clone(&this.queue);
            let thread = thread::Builder::new().name(format!("m0v-password-{number}"));
            this.handles.push(thread.spawn(move || work(&queue))?);
        }
        Ok(this)
    }

    /// Has `work` done when its turn comes.
    ///
    /// # Errors
    /// Too many wait, or it took too long; or `work` panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        kind: Kind,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoVerdict> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || {
            if !answer.is_closed() {
                answer.send(work()).ok();
            }
        });
        if !self.queue.lock().push(kind, job) {
            return Err(NoVerdict::Overloaded);
        }
        self.queue.bell.notify_one();
        match timeout(PATIENCE, answered).await {
            Ok(answer) => answer.map_err(|_| NoVerdict::Failed),
            Err(_) => Err(NoVerdict::Overloaded),
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.queue.lock().is_closed = true;
        self.queue.bell.notify_all();
        for thread in self.handles.drain(..) {
            if thread.join().is_err() {
                log::error!("a thread that checks passwords panicked");
            }
        }
    }
}

impl Queue {
    // It is whole between any two steps, so a poisoned lock still holds it.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a job; `None` once there will be none.
    fn next(&self) -> Option<Job> {
        let waiting = self.lock();
        let idle = |waiting: &mut Waiting| !waiting.is_closed && waiting.is_empty();
        let mut waiting = self.bell.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
        if waiting.is_closed { None } else { waiting.pop() }
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.checks.is_empty() && self.new.is_empty()
    }

    /// `false` if it is full.
    fn push(&mut self, kind: Kind, job: Job) -> bool {
        let (queue, most) = match kind {
            Kind::Check => (&mut self.checks, MOST_CHECKS),
            Kind::New => (&mut self.new, MOST_NEW),
        };
        let has_room = queue.len() < most;
        if has_room {
            queue.push_back(job);
        }
        has_room
    }

    fn pop(&mut self) -> Option<Job> {
        let is_turn_of_new = self.is_turn_of_new;
        self.is_turn_of_new = !is_turn_of_new;
        if is_turn_of_new {
            self.new.pop_front().or_else(|| self.checks.pop_front())
        } else {
            self.checks.pop_front().or_else(|| self.new.pop_front())
        }
    }
}

fn work(queue: &Queue) {
    // On Linux a thread has a priority of its own. Without it, the cores are shared evenly.
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        log::debug!("passwords are checked at the priority of everything else: {error}");
    }
    while let Some(job) = queue.next() {
        job();
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, MOST_CHECKS, MOST_NEW, NoVerdict, PATIENCE, Threads, Waiting};
    use std::sync::{Arc, Mutex, mpsc};

    /// Threads that are all held up until what is returned is dropped.
    async fn held_up() -> (Threads, mpsc::Sender<()>) {
        let threads = Threads::start().unwrap();
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let (started, mut all_started) = tokio::sync::mpsc::channel(1000);
        for _ in 0..threads.handles.len() {
            let (held, started) = (Arc::clone(&held), started.clone());
            let hold = Box::new(move || {
                started.try_send(()).unwrap();
                held.lock().unwrap().recv().unwrap_err();
            });
            assert!(threads.queue.lock().push(Kind::Check, hold));
            threads.queue.bell.notify_one();
        }
        for _ in 0..threads.handles.len() {
            all_started.recv().await.unwrap();
        }
        (threads, release)
    }

    #[tokio::test]
    async fn refuses_when_too_many_wait_and_keeps_nobody_out_by_others() {
        let (threads, release) = held_up().await;
        for _ in 0..MOST_CHECKS {
            assert!(threads.queue.lock().push(Kind::Check, Box::new(|| {})));
        }
        assert_eq!(threads.run(Kind::Check, || 1).await, Err(NoVerdict::Overloaded));
        let registered = threads.run(Kind::New, || 2);
        drop(release);
        assert_eq!(registered.await, Ok(2));
        while !threads.queue.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(threads.run(Kind::Check, || 3).await, Ok(3));
    }

    #[tokio::test(start_paused = true)]
    async fn does_not_let_anybody_wait_for_longer_than_brokers_do() {
        let (threads, release) = held_up().await;
        let (work, is_worked_for) = mpsc::channel();
        let asked = tokio::time::Instant::now();
        let given_up = threads.run(Kind::Check, move || work.send(()).unwrap()).await;
        assert_eq!((given_up, asked.elapsed()), (Err(NoVerdict::Overloaded), PATIENCE));
        drop(release);
        is_worked_for.recv().unwrap_err();
    }

    #[test]
    fn takes_from_both_queues_in_turn() {
        let (said, heard) = mpsc::channel();
        let mut waiting = Waiting::default();
        for (kind, word) in [(Kind::Check, 'c'), (Kind::New, 'n')] {
            for _ in 0..3 {
                let said = said.clone();
                assert!(waiting.push(kind, Box::new(move || said.send(word).unwrap())));
            }
        }
        while let Some(job) = waiting.pop() {
            job();
        }
        assert_eq!(heard.try_iter().collect::<String>(), "cncncn");
        for _ in 0..MOST_NEW {
            assert!(waiting.push(Kind::New, Box::new(|| {})));
        }
        assert!(!waiting.push(Kind::New, Box::new(|| {})));
        assert!(waiting.push(Kind::Check, Box::new(|| {})));
    }
}
