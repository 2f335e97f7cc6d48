//! The allow-list of 100,000 devices: what it costs to read, to hold and to write down, and how long
//! others wait meanwhile. `cargo bench --bench devices`; with `M0V_BENCH_URL` on that database, which
//! must be empty, else on a file of the embedded store.

use m0v::{
    device::{Registry, follow},
    ops::{health::Health, metrics::Metrics},
    store::{
        Store,
        embedded::Embedded,
        postgres::{Postgres, PostgresOptions},
        spool::SpoolFile,
    },
    tls::certificate_id,
};
use std::{
    error::Error,
    fs,
    hint::black_box,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const DEVICES: i64 = 100_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    // cargo test runs benches too, to see that they work.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    // One thread: whatever holds it up is seen.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure())
}

async fn measure() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let store: Arc<dyn Store> = match std::env::var("M0V_BENCH_URL") {
        Ok(url) => on_postgres(url).await?,
        Err(_) => embedded(&folder.path().join("m0v.sqlite")).await?,
    };
    let file = Arc::new(SpoolFile::open(&folder.path().join("spool"), 1 << 30)?);
    let before = resident()?;
    let open = |file: &Arc<SpoolFile>| {
        let (health, metrics) = (Arc::new(Health::default()), Arc::new(Metrics::default()));
        Arc::new(Registry::new(Arc::clone(&store), Some(Arc::clone(file)), health, metrics))
    };
    let registry = open(&file);
    let nothing = async {
        sleep(Duration::from_secs(3)).await;
        Outcome::Ok(())
    };
    watched("nothing, to see what the machine does to others", &registry, nothing).await?;
    watched("read from the store", &registry, registry.reload()).await?;
    println!("resident bytes a device: {}", (resident()?.saturating_sub(before)) / DEVICES.unsigned_abs());
    watched("read anew, nothing changed", &registry, registry.reload()).await?;

    let stop = CancellationToken::new();
    let (changes, following) = (store.changes(), stop.clone());
    let task = tokio::spawn(follow(Arc::clone(&registry), changes, following));
    let hearing = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.hear().await }
    });
    let written = async {
        while file.listed_at().await?.is_none() {
            sleep(Duration::from_millis(10)).await;
        }
        Outcome::Ok(())
    };
    watched("read anew and written down for the first time", &registry, written).await?;
    hearing.abort();
    stop.cancel();
    task.await?;
    let bytes = fs::metadata(folder.path().join("spool/spool.sqlite"))?.len();
    println!("bytes on disk a device: {}", bytes / DEVICES.unsigned_abs());
    drop(registry);

    let registry = open(&file);
    let recalled = async { registry.recall().await.map(drop) };
    watched("read from the spool's file", &registry, recalled).await
}

/// Times it; meanwhile a task ticks each millisecond, and a thread asks the list.
async fn watched<E: Into<Box<dyn Error>>>(
    what: &str,
    registry: &Arc<Registry>,
    work: impl Future<Output = Result<(), E>>,
) -> Outcome<()> {
    let (stop, longest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let asking = {
        let (registry, stop, longest) = (Arc::clone(registry), Arc::clone(&stop), Arc::clone(&longest));
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let since = Instant::now();
                black_box(registry.objection(&"0".repeat(64)));
                longest.fetch_max(micros(since.elapsed()), Ordering::Relaxed);
                thread::sleep(Duration::from_micros(200));
            }
        })
    };
    let ticking = tokio::spawn(async {
        let mut longest = Duration::ZERO;
        loop {
            let since = Instant::now();
            sleep(Duration::from_millis(1)).await;
            longest = longest.max(since.elapsed());
            PAUSE.store(micros(longest), Ordering::Relaxed);
        }
    });
    let since = Instant::now();
    let done = work.await;
    let took = since.elapsed();
    ticking.abort();
    stop.store(true, Ordering::Relaxed);
    asking.join().map_err(|_| "the asking thread died")?;
    done.map_err(Into::into)?;
    println!(
        "{what}: {} ms; the runtime's thread was busy for {} ms at most, a question waited {} ms at most",
        took.as_millis(),
        PAUSE.swap(0, Ordering::Relaxed) / 1000,
        longest.load(Ordering::Relaxed) / 1000
    );
    Ok(())
}

static PAUSE: AtomicU64 = AtomicU64::new(0);

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn resident() -> Outcome<u64> {
    let pages = fs::read_to_string("/proc/self/statm")?;
    Ok(pages.split(' ').nth(1).ok_or("no resident pages")?.parse::<u64>()? * 4096)
}

async fn embedded(path: &Path) -> Outcome<Arc<dyn Store>> {
    let store = Embedded::open(path)?;
    store.prepare().await?;
    let mut connection = rusqlite::Connection::open(path)?;
    let transaction = connection.transaction()?;
    for number in 1..=DEVICES {
        let (id, name) = (certificate_id(&number.to_be_bytes()), format!("meter-{number}"));
        transaction.execute("INSERT INTO pub (pub_id) VALUES (?1)", [number])?;
        transaction.execute("INSERT INTO device (device_id, pub_id) VALUES (?1, ?2)", (&name, number))?;
        transaction.execute(
            "INSERT INTO device_cert (certificate_id, device_id, not_after, pem) VALUES (?1, ?2, ?3, ?4)",
            (&id, &name, i64::MAX / 2, "x".repeat(1200)),
        )?;
    }
    transaction.commit()?;
    Ok(Arc::new(store))
}

async fn on_postgres(url: String) -> Outcome<Arc<dyn Store>> {
    let options = PostgresOptions { url: url.clone(), ca_file: None, max_connections: 4, allow_unsafe: true };
    let store = Postgres::new(options)?;
    store.prepare().await?;
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    let rows = format!(
        "INSERT INTO pub (pub_id) SELECT generate_series(1, {DEVICES});
         INSERT INTO device (device_id, pub_id) SELECT 'meter-' || n, n FROM generate_series(1, {DEVICES}) n;
         INSERT INTO device_cert (certificate_id, device_id, not_after, pem)
           SELECT encode(sha256(n::text::bytea), 'hex'), 'meter-' || n, 'infinity', repeat('x', 1200)
             FROM generate_series(1, {DEVICES}) n;
         ANALYZE"
    );
    client.batch_execute(&rows.replace("'infinity'", "'2200-01-01'")).await?;
    drop(client);
    connection.await??;
    Ok(Arc::new(store))
}
