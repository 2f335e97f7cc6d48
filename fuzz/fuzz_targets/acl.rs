//! A topic pattern is read from any text, and a name never makes it wider: what is allowed with a name
//! put in is allowed with `+` in its place.

#![no_main]

use libfuzzer_sys::fuzz_target;
use m0v_fuzz::device::acl::{Pattern, Subject, allows_filter, allows_topic};

// A pattern, a name and a topic, a line each.
fuzz_target!(|input: &str| {
    let mut lines = input.splitn(3, '\n');
    let (pattern, name, topic) = (lines.next(), lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let Ok(pattern) = Pattern::parse(pattern.unwrap_or("")) else { return };
    let subject = Subject { username: name, device: Some(name) };
    let patterns = [pattern];
    let by_topic = allows_topic(&patterns, subject, topic);
    let by_filter = allows_filter(&patterns, subject, topic);
    assert!(by_filter || !by_topic);
    let Some(filter) = patterns[0].filter(subject) else {
        assert!(!by_filter);
        return;
    };
    assert_eq!(filter.split('/').count(), patterns[0].as_str().split('/').count());
    let is_level = |level: &str| level == "{device}" || level == "{username}";
    let wider = patterns[0].as_str().split('/').map(|level| if is_level(level) { "+" } else { level });
    let wider = wider.collect::<Vec<_>>().join("/");
    if let Ok(wider) = Pattern::parse(&wider) {
        // A name in front may begin with anything but the broker's own sign.
        assert!(!by_filter || allows_filter(&[wider], subject, topic), "{filter}");
    }
});
