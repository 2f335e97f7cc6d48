//! The table, and what must hold for all patterns.

use super::{BadPattern, MAX_PATTERN_BYTES, Pattern, Subject, allows_filter, allows_topic, covers};
use proptest::prelude::*;

const ANN: Subject<'_> = Subject { username: "un-ann", device: Some("meter-7") };

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

#[test]
fn topics_are_allowed_by_the_table() {
    for (allowed, topic, expected) in [
        ("a/b", "a/b", true),
        ("a/b", "a/B", false),
        ("a/b", "a", false),
        ("a/b", "a/b/c", false),
        ("a/b", "a/b/", false),
        ("a/+", "a/b", true),
        ("a/+", "a/", true),
        ("a/+", "a", false),
        ("a/+", "a/b/c", false),
        ("+/b", "/b", true),
        ("+", "a", true),
        ("+", "/a", false),
        ("+/+", "/a", true),
        ("a/#", "a", true),
        ("a/#", "a/b/c", true),
        ("a/#", "ab", false),
        ("#", "a/b", true),
        ("#", "/", true),
        ("+/#", "a", true),
        ("a/+/c/#", "a/b/c", true),
        ("a/+/c/#", "a/b/c/d/e", true),
        ("a/+/c/#", "a/c", false),
        ("#", "$SYS/uptime", false),
        ("+/uptime", "$SYS/uptime", false),
        ("+/#", "$SYS/uptime", false),
        ("$SYS/#", "$SYS/uptime", true),
        ("$SYS/+", "$SYS/uptime", true),
        ("a/$b/+", "a/$b/$c", true),
        ("$share/#", "$share/group/a", false),
        ("#", "a/+", false),
        ("#", "#", false),
        ("#", "a/b#", false),
        ("#", "", false),
        ("#", "a\0b", false),
        ("devices/{device}/up", "devices/meter-7/up", true),
        ("devices/{device}/up", "devices/meter-8/up", false),
        ("{username}/#", "un-ann/x", true),
        ("{username}/#", "un-bob/x", false),
        ("d-{device}-{username}", "d-meter-7-un-ann", true),
        ("käse/+", "käse/π", true),
    ] {
        assert_eq!(allows_topic(&[pattern(allowed)], ANN, topic), expected, "{allowed} {topic}");
    }
    assert!(!allows_topic(&[], ANN, "a"), "nothing allows nothing");
    assert!(allows_topic(&[pattern("a"), pattern("b")], ANN, "b"), "one is enough");
}

#[test]
fn filters_are_allowed_only_if_wholly_covered() {
    for (allowed, filter, expected) in [
        ("a/#", "a/#", true),
        ("a/#", "a/+/c", true),
        ("a/#", "a", true),
        ("a/#", "#", false),
        ("a/#", "+/b", false),
        ("a/+", "a/+", true),
        ("a/+", "a/#", false),
        ("a/+/#", "a/#", false),
        ("/+/#", "/#", false),
        ("+/#", "#", true),
        ("#", "+/#", true),
        ("a/b", "a/+", false),
        ("+", "+", true),
        ("#", "$SYS/#", false),
        ("$SYS/#", "$SYS/#", true),
        ("$SYS/#", "#", false),
        ("#", "a/#/b", false),
        ("#", "a+", false),
        ("a/#", "$share/group/a/b", true),
        ("a/#", "$share/group/b", false),
        ("#", "$share/group/$SYS/x", false),
        ("#", "$share/+/a", false),
        ("#", "$share//a", false),
        ("#", "$share/group", false),
        ("$share/#", "$share/group/a", false),
        ("$share/#", "$share/group", false),
        ("devices/{device}/#", "devices/meter-7/+", true),
        ("devices/{device}/#", "devices/+/x", false),
    ] {
        assert_eq!(allows_filter(&[pattern(allowed)], ANN, filter), expected, "{allowed} {filter}");
    }
    let both = [pattern("a/b"), pattern("a/+")];
    assert!(allows_filter(&both, ANN, "a/+") && !allows_filter(&both, ANN, "a/#"));
}

#[test]
fn names_never_make_a_pattern_wider() {
    for name in ["+", "#", "a/b", "a+", "x#", "/", "", "a\0", "\n", "../x/"] {
        for text in ["devices/{device}/up", "{device}", "{device}/#", "a/{device}"] {
            let subject = Subject { username: "u", device: Some(name) };
            assert_eq!(pattern(text).filter(subject), None, "{name:?} in {text}");
            let subject = Subject { username: name, device: None };
            assert_eq!(pattern(&text.replace("device", "username")).filter(subject), None, "{name:?}");
        }
    }
    let system = Subject { username: "$SYS", device: None };
    assert_eq!(pattern("{username}/#").filter(system), None, "nobody becomes the broker by name");
    assert_eq!(pattern("a/{username}").filter(system).as_deref(), Some("a/$SYS"));
    let untied = Subject { username: "u", device: None };
    assert_eq!(pattern("a/{device}").filter(untied), None);
    let braces = Subject { username: "{device}", device: Some("d") };
    assert_eq!(pattern("a/{username}").filter(braces).as_deref(), Some("a/{device}"), "put in once");
}

#[test]
fn bad_patterns_are_refused_with_their_place() {
    use BadPattern::{Brace, Control, Empty, Hash, Plus, TooLong};
    for (text, fault) in [
        ("", Empty),
        ("a\0", Control(2)),
        ("a/\n/b", Control(3)),
        ("a/b+", Plus(4)),
        ("+a", Plus(1)),
        ("++", Plus(1)),
        ("ä/ö+", Plus(4)),
        ("a/#/b", Hash(3)),
        ("#/", Hash(1)),
        ("a#", Hash(2)),
        ("##", Hash(1)),
        ("a/{devise}/b", Brace(3)),
        ("a/{device", Brace(3)),
        ("a/}", Brace(3)),
        ("{device}{", Brace(9)),
        ("{{device}}", Brace(1)),
        ("+{device}", Plus(1)),
    ] {
        assert_eq!(Pattern::parse(text), Err(fault), "{text:?}");
    }
    assert_eq!(Pattern::parse(&"a".repeat(MAX_PATTERN_BYTES + 1)), Err(TooLong));
    assert!(Pattern::parse(&"a".repeat(MAX_PATTERN_BYTES)).is_ok());
    assert_eq!(Plus(4).to_string(), "+ must be a level of its own, as in a/+/b (column 4)");
}

/// MQTT's rule for one topic, written as the standard tells it.
fn matches(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) | ([], []) => true,
        (["+", filter @ ..], [_, topic @ ..]) => matches(filter, topic),
        ([level, filter @ ..], [name, topic @ ..]) => level == name && matches(filter, topic),
        _ => false,
    }
}

fn matches_topic(filter: &str, topic: &str) -> bool {
    let (filter, topic): (Vec<_>, Vec<_>) = (filter.split('/').collect(), topic.split('/').collect());
    let from_outside = topic[0].starts_with('$') && matches!(filter[0], "+" | "#");
    !from_outside && matches(&filter, &topic)
}

/// Every topic of up to four levels, with a name (z) that no filter below has; the empty one too,
/// though MQTT has it not.
fn topics() -> Vec<String> {
    let names = ["a", "b", "", "$s", "z"];
    let mut all: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut last = all.clone();
    for _ in 1..4 {
        last = last.iter().flat_map(|topic| names.map(|name| format!("{topic}/{name}"))).collect();
        all.extend_from_slice(&last);
    }
    all
}

fn filters() -> impl Strategy<Value = String> {
    let level = prop_oneof![Just("a"), Just("b"), Just(""), Just("$s"), Just("+")];
    (prop::collection::vec(level, 0..=3), any::<bool>()).prop_filter_map("empty", |(mut levels, open)| {
        if open {
            levels.push("#");
        }
        let filter = levels.join("/");
        (!filter.is_empty()).then_some(filter)
    })
}

proptest! {
    #[test]
    fn a_filter_is_covered_if_and_only_if_all_it_matches_is(allowed in filters(), filter in filters()) {
        let all = topics();
        let expected = all.iter().all(|topic| !matches_topic(&filter, topic) || matches_topic(&allowed, topic));
        prop_assert_eq!(covers(&allowed, &filter), expected, "{} {}", allowed, filter);
    }

    #[test]
    fn a_topic_is_covered_if_and_only_if_it_matches(allowed in filters(), at in 0..700_usize) {
        let all = topics();
        let topic = &all[at % all.len()];
        prop_assert_eq!(covers(&allowed, topic), matches_topic(&allowed, topic), "{} {}", allowed, topic);
    }

    #[test]
    fn a_name_stays_in_its_level(name in ".*", text in "[ab/]{0,4}\\{username\\}[ab/]{0,4}") {
        let subject = Subject { username: &name, device: None };
        if let Some(filter) = pattern(&text).filter(subject) {
            prop_assert_eq!(filter.split('/').count(), text.split('/').count());
            prop_assert!(!filter.contains(['+', '#', '\0']));
        }
    }

    #[test]
    fn nothing_panics(text in ".*", topic in ".*", name in ".*") {
        let subject = Subject { username: &name, device: Some(&topic) };
        if let Ok(pattern) = Pattern::parse(&text) {
            let allowed = allows_topic(std::slice::from_ref(&pattern), subject, &topic);
            prop_assert!(!allowed || allows_filter(&[pattern], subject, &topic));
        }
    }
}
