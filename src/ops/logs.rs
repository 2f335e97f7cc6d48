//! Where log lines go and what they look like. What they say is each room's own.

use crate::config::{Log, LogFormat};
use flexi_logger::{
    Cleanup, Criterion, DeferredNow, Duplicate, FileSpec, FlexiLoggerError, FormatFunction, LogSpecification,
    Logger, LoggerHandle, Naming,
};
use log::{LevelFilter, Record};
use std::{
    fmt::Write as _,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// UTC to the millisecond, as RFC 3339 writes it.
const TIME_FORMAT: &str = "%Y-%m-%dT%H:%M:%S%.3fZ";

/// Keeps the log open; when dropped, what is still held back is written.
#[must_use = "the log ends when this is dropped"]
pub struct LogGuard {
    handle: LoggerHandle,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.handle.flush();
    }
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `[log] dir` cannot be made or written to.
    #[error("[log] dir: cannot write to {}: {source}", .dir.display())]
    Dir {
        /// The folder.
        dir: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The logger itself refuses, for instance because this process has one already.
    #[error("cannot start the log: {0}")]
    Logger(#[source] FlexiLoggerError),
}

/// Starts the log of this process. To stderr, or with `[log] dir` to `m0v.log` in it (rotated by
/// size) and errors also to stderr. `RUST_LOG` is not looked at: one place says how much is said.
///
/// # Errors
/// See [`LogError`].
pub fn start(config: &Log) -> Result<LogGuard, LogError> {
    let started = logger(config)?.start();
    let handle = started.map_err(|error| explain(error, config.dir.as_deref()))?;
    Ok(LogGuard { handle })
}

fn logger(config: &Log) -> Result<Logger, LogError> {
    let format: FormatFunction = match config.format {
        LogFormat::Text => write_text,
        LogFormat::Json => write_json,
    };
    // A log that cannot be written must never end the server: no panic on a closed stderr.
    let logger =
        Logger::with(levels(config.level)).format(format).use_utc().panic_if_error_channel_is_broken(false);
    let Some(dir) = &config.dir else {
        return Ok(logger.log_to_stderr());
    };
    fs::create_dir_all(dir).map_err(|source| LogError::Dir { dir: dir.clone(), source })?;
    Ok(logger
        .log_to_file(FileSpec::default().directory(dir).basename("m0v").suffix("log").suppress_timestamp())
        .append()
        .rotate(
            Criterion::Size(config.rotate_bytes),
            Naming::TimestampsCustomFormat { current_infix: Some(""), format: "%Y-%m-%d_%H-%M-%S" },
            Cleanup::KeepLogFiles(config.keep),
        )
        .cleanup_in_background_thread(false)
        .duplicate_to_stderr(Duplicate::Error))
}

fn explain(error: FlexiLoggerError, dir: Option<&Path>) -> LogError {
    match (error, dir) {
        (FlexiLoggerError::OutputIo(source), Some(dir)) => LogError::Dir { dir: dir.to_owned(), source },
        (error, _) => LogError::Logger(error),
    }
}

/// The level is m0v's. The crates it stands on log what any stranger can cause (a bad handshake) as
/// warnings, so they are heard only when someone is looking for trouble.
fn levels(level: LevelFilter) -> LogSpecification {
    let others = match level {
        LevelFilter::Off => LevelFilter::Off,
        LevelFilter::Error | LevelFilter::Warn | LevelFilter::Info => LevelFilter::Error,
        LevelFilter::Debug => LevelFilter::Info,
        LevelFilter::Trace => LevelFilter::Trace,
    };
    let mut levels = LogSpecification::builder();
    levels.default(others).module("m0v", level);
    // Below `info` these log what they send and receive: parameters, e-mails, key authorizations.
    for talkative in ["tokio_postgres", "rustls_acme"] {
        levels.module(talkative, others.min(LevelFilter::Info));
    }
    levels.build()
}

fn write_text(out: &mut dyn Write, now: &mut DeferredNow, record: &Record<'_>) -> io::Result<()> {
    let time = now.now_utc_owned().format(TIME_FORMAT);
    let message = one_line(&record.args().to_string());
    write!(out, "{time} {:<5} {}: {message}", record.level(), room(record.target()))
}

fn write_json(out: &mut dyn Write, now: &mut DeferredNow, record: &Record<'_>) -> io::Result<()> {
    let line = JsonLine {
        time: now.now_utc_owned().format(TIME_FORMAT).to_string(),
        level: record.level().as_str().to_ascii_lowercase(),
        target: room(record.target()),
        message: record.args().to_string(),
    };
    Ok(serde_json::to_writer(out, &line)?)
}

#[derive(serde::Serialize)]
struct JsonLine<'a> {
    time: String,
    level: String,
    target: &'a str,
    message: String,
}

/// The room that speaks, or the name of a foreign crate: `m0v::tls::modern` is `tls`.
fn room(target: &str) -> &str {
    let inner = target.strip_prefix("m0v::").unwrap_or(target);
    inner.split("::").next().unwrap_or(inner)
}

/// Messages hold text from the network: it must neither forge a second line nor steer a terminal.
fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for c in message.chars() {
        if c.is_control() || is_steering(c) {
            write!(line, "{}", c.escape_default()).ok();
        } else {
            line.push(c);
        }
    }
    line
}

/// Unicode's own line ends, and the marks that turn the direction of writing.
fn is_steering(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::{DeferredNow, LogError, levels, logger, room, write_json, write_text};
    use crate::config::{Log, LogFormat};
    use log::{Level, LevelFilter, Record};
    use proptest::prelude::*;
    use std::fs;

    fn render(format: LogFormat, message: &str) -> String {
        let mut line = Vec::new();
        let write = match format {
            LogFormat::Text => write_text,
            LogFormat::Json => write_json,
        };
        let args = format_args!("{message}");
        let record = Record::builder().level(Level::Warn).target("m0v::tls::modern").args(args).build();
        write(&mut line, &mut DeferredNow::new(), &record).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_text_line_has_time_level_room_and_message() {
        let line = render(LogFormat::Text, "hello");
        let (time, rest) = line.split_once(' ').unwrap();
        assert_eq!(rest, "WARN  tls: hello");
        assert!(time.len() == 24 && time.ends_with('Z') && time.contains('T'), "{time}");
    }

    #[test]
    fn a_json_line_is_one_object() {
        let value: serde_json::Value = serde_json::from_str(&render(LogFormat::Json, "a\n\"b\"")).unwrap();
        assert_eq!(value["level"], "warn");
        assert_eq!(value["target"], "tls");
        assert_eq!(value["message"], "a\n\"b\"");
        assert!(value["time"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn a_target_is_a_room_or_a_crate() {
        for (target, name) in [
            ("m0v::meter", "meter"),
            ("m0v::tls::compat", "tls"),
            ("m0v", "m0v"),
            ("rustls::conn", "rustls"),
            ("", ""),
        ] {
            assert_eq!(room(target), name);
        }
    }

    #[test]
    fn strangers_cannot_forge_lines() {
        let line = render(LogFormat::Text, "id\r\n2026 ERROR x\u{1b}[2J\u{2028}\u{202e}\u{9b}é");
        assert!(line.ends_with("id\\r\\n2026 ERROR x\\u{1b}[2J\\u{2028}\\u{202e}\\u{9b}é"), "{line}");
    }

    proptest! {
        #[test]
        fn every_message_is_one_line(message: String) {
            for format in [LogFormat::Text, LogFormat::Json] {
                let line = render(format, &message);
                prop_assert!(!line.contains(['\n', '\r']));
            }
            prop_assert!(!render(LogFormat::Text, &message).contains(char::is_control));
        }
    }

    #[test]
    fn other_crates_are_quieter() {
        for (level, ours, others) in [
            (LevelFilter::Off, None, None),
            (LevelFilter::Info, Some(Level::Info), Some(Level::Error)),
            (LevelFilter::Debug, Some(Level::Debug), Some(Level::Info)),
            (LevelFilter::Trace, Some(Level::Trace), Some(Level::Trace)),
        ] {
            let spec = levels(level);
            let loudest = |target| Level::iter().filter(|level| spec.enabled(*level, target)).max();
            assert_eq!((loudest("m0v::tls"), loudest("rustls")), (ours, others), "{level}");
            assert!(loudest("tokio_postgres::query") <= Some(Level::Info), "{level}");
        }
    }

    #[test]
    fn files_are_rotated_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let config =
            Log { dir: Some(dir.path().join("logs")), rotate_bytes: 4096, keep: 2, ..Log::default() };
        for _ in 0..2 {
            let (log, _handle) = logger(&config).unwrap().build().unwrap();
            for number in 0..200 {
                let args = format_args!("line {number} {}", "x".repeat(60));
                log.log(&Record::builder().level(Level::Info).target("m0v::meter").args(args).build());
            }
        }
        let mut names: Vec<String> = fs::read_dir(dir.path().join("logs"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(names.contains(&"m0v.log".to_owned()), "{names:?}");
        let last = fs::read_to_string(dir.path().join("logs/m0v.log")).unwrap();
        assert!(last.lines().last().unwrap().contains("INFO  meter: line 199 "), "{last}");
    }

    #[test]
    fn says_which_folder_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let config = Log { dir: Some(file.join("logs")), ..Log::default() };
        let Err(error @ LogError::Dir { .. }) = logger(&config) else { panic!("must be refused") };
        let shown = error.to_string();
        assert!(shown.starts_with("[log] dir: cannot write to ") && shown.contains("file/logs: "), "{shown}");
    }
}
