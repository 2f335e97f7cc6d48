//! Is the database there, ours, and durable?

use super::Finding;
use crate::config::Config;
use crate::server;

pub(super) async fn check(config: &Config) -> Finding {
    let file = server::embedded_file(config);
    if config.database.url.is_none() && !file.exists() {
        return Finding::ok("database", format!("{} is made at the first start", file.display()));
    }
    let inspected = match server::open_store(config).await {
        Ok(store) => store.inspect().await,
        Err(error) => Err(error),
    };
    match inspected {
        Ok(text) => Finding::ok("database", text),
        Err(error) => Finding::fault("database", error.to_string()),
    }
}
