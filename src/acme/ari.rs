//! ACME Renewal Information (RFC 9773): the CA's wish when to renew. It may pull a renewal
//! forward and never push it back; every failure to get it counts as no wish.

use super::{
    account::Directory, cache::UnixSeconds, call::Caller, certificate::Certificate, options::Checked,
};
use serde::Deserialize;
use std::time::Duration;

/// Asked again after this, if the server names no other time.
const POLL_DEFAULT: Duration = Duration::from_secs(6 * 3600);
/// The bounds of what a server may name (RFC 9773 §4.3.2 recommends these).
const POLL_BOUNDS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(24 * 3600));

/// When the CA would like to see the renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Not earlier.
    pub start: UnixSeconds,
    /// Not later.
    pub end: UnixSeconds,
}

/// An answer and when to ask again.
pub(crate) struct Information {
    pub(crate) window: Option<Window>,
    pub(crate) again_in: Duration,
}

impl Information {
    pub(crate) fn nothing() -> Self {
        Self { window: None, again_in: POLL_DEFAULT }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    suggested_window: Suggested,
}

#[derive(Deserialize)]
struct Suggested {
    start: String,
    end: String,
}

/// The name of the certificate to be replaced, if the server wants to hear it.
pub(crate) fn replaceable<'a>(
    directory: &Directory,
    checked: &Checked,
    current: Option<&'a Certificate>,
) -> Option<&'a str> {
    directory.renewal_info.as_ref()?;
    current.filter(|certificate| certificate.directory == checked.directory())?.ari_id.as_deref()
}

/// Asks when this certificate should be renewed.
pub(crate) async fn ask(caller: &Caller, directory: &Directory, certificate: &Certificate) -> Information {
    let (Some(base), Some(id)) = (&directory.renewal_info, &certificate.ari_id) else {
        return Information::nothing();
    };
    let answer = match caller.fetch("renewalInfo", &format!("{}/{id}", base.trim_end_matches('/'))).await {
        Ok(answer) => answer,
        Err(error) => {
            log::debug!("no renewal information: {error}");
            return Information::nothing();
        }
    };
    let window = answer.json("renewalInfo").ok().and_then(|document| read(&document));
    let (least, most) = POLL_BOUNDS;
    Information { window, again_in: answer.retry_after().unwrap_or(POLL_DEFAULT).clamp(least, most) }
}

fn read(Document { suggested_window: Suggested { start, end } }: &Document) -> Option<Window> {
    let time = |text: &str| Some(chrono::DateTime::parse_from_rfc3339(text).ok()?.timestamp());
    let window = Window { start: time(start)?, end: time(end)? };
    (window.start < window.end).then_some(window)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_window_and_refuses_one_that_ends_before_it_starts() {
        let document = |start, end| {
            let json =
                format!(r#"{{"suggestedWindow":{{"start":"{start}","end":"{end}"}},"explanationURL":"x"}}"#);
            read(&serde_json::from_str(&json).unwrap())
        };
        let (early, late) = ("2026-01-02T04:00:00Z", "2026-01-03T04:00:00.5Z");
        assert_eq!(document(early, late), Some(Window { start: 1_767_326_400, end: 1_767_412_800 }));
        assert_eq!(document(late, early), None);
        assert_eq!(document("soon", late), None);
    }
}
