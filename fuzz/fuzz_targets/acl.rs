//! A topic pattern is read from any text; what it allows is what a naive reading of the standard allows,
//! and a name never makes it wider: what is allowed with a name put in is allowed with `+` in its place.

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
    agrees_with_the_standard(&filter, topic, by_topic, by_filter);
    assert_eq!(filter.split('/').count(), patterns[0].as_str().split('/').count());
    let is_level = |level: &str| level == "{device}" || level == "{username}";
    let wider = patterns[0].as_str().split('/').map(|level| if is_level(level) { "+" } else { level });
    let wider = wider.collect::<Vec<_>>().join("/");
    if let Ok(wider) = Pattern::parse(&wider) {
        // A name in front may begin with anything but the broker's own sign.
        assert!(!by_filter || allows_filter(&[wider], subject, topic), "{filter}");
    }
});

/// A level that no pattern here has, since a pattern has no control characters.
const NOBODYS: &str = "\u{1}";

/// Topics by the rule itself; filters by trying what they match: with a level nobody else has for each
/// `+`, and any number of those for `#`, more than the allowance has levels.
fn agrees_with_the_standard(allowed: &str, topic: &str, by_topic: bool, by_filter: bool) {
    if topic.is_empty() || topic.len() > 65_535 || topic.contains(['\0', '\u{1}']) {
        return;
    }
    if topic.contains(['+', '#']) || topic.starts_with("$share/") {
        assert!(!by_topic, "no message has this topic");
    } else {
        assert_eq!(by_topic, matches(allowed, topic), "{allowed} {topic}");
    }
    if topic.starts_with("$share/") || !is_legal(topic) {
        return;
    }
    let plain = topic.split('/').map(|level| if level == "+" { NOBODYS } else { level });
    let mut plain: Vec<&str> = plain.collect();
    let covers = if plain.last() == Some(&"#") {
        plain.pop();
        let shortest = usize::from(plain.is_empty());
        (shortest..=allowed.split('/').count() + 1).all(|more| {
            let levels = [plain.as_slice(), &vec![NOBODYS; more]].concat();
            matches(allowed, &levels.join("/"))
        })
    } else {
        matches(allowed, &plain.join("/"))
    };
    assert_eq!(by_filter, covers, "{allowed} {topic}");
}

/// MQTT's rule, as the standard tells it.
fn matches(filter: &str, topic: &str) -> bool {
    let (filter, topic): (Vec<_>, Vec<_>) = (filter.split('/').collect(), topic.split('/').collect());
    let from_outside = topic[0].starts_with('$') && matches!(filter[0], "+" | "#");
    !from_outside && levels_match(&filter, &topic)
}

fn levels_match(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) | ([], []) => true,
        (["+", filter @ ..], [_, topic @ ..]) => levels_match(filter, topic),
        ([level, filter @ ..], [name, topic @ ..]) => level == name && levels_match(filter, topic),
        _ => false,
    }
}

fn is_legal(filter: &str) -> bool {
    let levels: Vec<_> = filter.split('/').collect();
    levels.iter().enumerate().all(|(at, level)| match *level {
        "+" => true,
        "#" => at + 1 == levels.len(),
        level => !level.contains(['+', '#']),
    })
}
