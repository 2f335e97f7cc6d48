//! What bounds onboarding: tokens that end, by use or by time, on two nodes too; how often one
//! address may ask; and what is never written down, wherever it was put.

use crate::{
    harness::{Engine, Server, Site, eventually, run_tool},
    http::{VERSIONS, curl},
    onboarding::{BROKER, ask, post, register, token},
};
use serde_json::{Value, json};
use std::thread;

on_both_stores![
    tokens_end_in_time_and_names_are_only_names,
    an_address_that_asks_too_often_is_told_to_wait,
    secrets_are_not_logged_wherever_they_are_put,
];

fn refused() -> Value {
    json!({"isSuccessful": false, "identity": null, "username": null, "password": null})
}

#[test]
fn a_token_used_up_on_two_nodes_at_once_makes_as_many_accounts_as_it_may() {
    let first = Site::new(Engine::Postgres);
    let url = first.database().expect("a database").url().to_owned();
    let second = Site::with(Engine::Embedded, &format!("[database]\nurl = {url:?}\n"));
    let (one, other) = (first.start(), second.start());
    let five = token(&first, &["--name", "five", "--uses", "5"]);
    let ask = &|server: &Server<'_>| {
        let answer = post(server, "/register", &json!({"onboardingToken": five})).json();
        usize::from(answer["isSuccessful"] == json!(true))
    };
    let made: usize = thread::scope(|scope| {
        let servers = [&one, &other].into_iter().cycle().take(12);
        let asked: Vec<_> = servers.map(|server| scope.spawn(move || ask(server))).collect();
        asked.into_iter().map(|asked| asked.join().expect("no panic")).sum()
    });
    assert_eq!((made, first.count("account")), (5, 5));
    assert_eq!(first.numbers("SELECT uses_left FROM onboarding_token"), [Some(0)]);
}

fn tokens_end_in_time_and_names_are_only_names(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let hostile = "'; DROP TABLE account; -- %_*+# é";
    let shown = token(&site, &["--name", hostile, "--expires", "12h"]);
    let other = token(&site, &["--name", "%"]);
    register(&server, &shown);
    let listed = site.run(&["token", "list"]).succeeded();
    assert!(
        listed.contains(&format!("token {} any number of uses until ", hostile.escape_debug())),
        "{listed}"
    );
    site.execute("UPDATE onboarding_token SET expires_at = created_at WHERE name <> '%'");
    assert_eq!(post(&server, "/register", &json!({"onboardingToken": shown})).json(), refused());
    let listed = site.run(&["token", "list"]).succeeded();
    assert!(listed.contains(&format!("token {} expired ", hostile.escape_debug())), "{listed}");
    site.run(&["token", "revoke", "%"]).succeeded();
    assert_eq!(post(&server, "/register", &json!({"onboardingToken": other})).json(), refused());
    let listed = site.run(&["token", "list"]).succeeded();
    assert_eq!(listed.matches(" revoked ").count(), 1, "{listed}");
    assert_eq!(site.count("account"), 1);
}

/// As many requests as there are, over one connection: their statuses.
fn in_a_row(site: &Site, server: &Server<'_>, path: &str, bodies: &[Value]) -> Vec<String> {
    let url = format!("https://localhost:{}{path}", server.api_addr().port());
    let requests = bodies.iter().map(|body| {
        format!(
            "url = {url}\njson = {:?}\ncacert = {}\nsilent\nshow-error\nnoproxy = \"*\"\n\
             output = /dev/null\nwrite-out = \"%{{http_code}}\\n\"\n",
            body.to_string(),
            server.ca_file().display()
        )
    });
    let file = site.folder().join("requests.curl");
    std::fs::write(&file, requests.collect::<Vec<_>>().join("next\n")).expect("writes a script");
    let said = run_tool("curl", &["-K", file.to_str().expect("text")]).succeeded();
    said.lines().map(str::to_owned).collect()
}

fn an_address_that_asks_too_often_is_told_to_wait(engine: Engine) {
    let site = Site::with(engine, "[api]\nonboarding_token = \"right\"\n");
    let server = site.start();
    for (path, name, at_once) in [("/register", "onboardingToken", 60), ("/", "identity", 200)] {
        // So many more that what is given back meanwhile, 10 a second at most, does not matter.
        let guesses: Vec<_> =
            (0..at_once + 1500).map(|number| json!({name: format!("guess-{number}")})).collect();
        let statuses = in_a_row(&site, &server, path, &guesses);
        assert!(statuses[..at_once].iter().all(|status| status == "200"), "{path}: {statuses:?}");
        assert!(statuses.iter().all(|status| ["200", "429"].contains(&status.as_str())), "{path}");
        let told = statuses.iter().filter(|status| *status == "429").count();
        assert!(told > 500, "{path}: {told}");
    }
    let again = || post(&server, "/register", &json!({"onboardingToken": "guess"}));
    let answer = eventually("a refusal", || Some(again()).filter(|answer| answer.status == 429));
    answer.refusal(429, "Too Many Requests");
    assert!(answer.header("retry-after").is_some_and(|wait| wait.parse::<u64>().is_ok()), "{answer:?}");
    assert!(server.meter().ask("{}").starts_with("!OK "), "other ports do not count with these");
}

fn secrets_are_not_logged_wherever_they_are_put(engine: Engine) {
    let site = Site::with(
        engine,
        &format!("{BROKER}onboarding_token = \"shown-token\"\n[log]\nlevel = \"trace\"\n"),
    );
    let server = site.start();
    let account = register(&server, "shown-token");
    let (name, password) = (account.username.as_str(), account.password.as_str());
    let form = format!("username={name}&password={password}&token=broker%2Bsecret");
    for version in VERSIONS {
        for (path, more) in [
            ("/mqtt/user", &["-d", &form][..]),
            ("/mqtt/user/broker+secret", &["-d", &form]),
            ("/broker+secret?broker+secret", &["-d", &form]),
            ("/register?token=broker%2Bsecret", &["--json", "{\"onboardingToken\":\"wrong\"}"]),
            ("/mqtt/user?token=broker%2Bsecret", &["-d", &form]),
            ("/mqtt/user?token=broker%2Bsecret", &["-d", "password=broker%2Bsecret&%%%"]),
            ("/mqtt/user?token=broker%2Bsecret", &["-X", "broker+secret", "-d", &form]),
            ("/mqtt/user", &["-u", "broker+secret:broker+secret", "-d", &form]),
            ("/mqtt/user", &["-b", "token=broker+secret", "-d", &form]),
            ("/mqtt/micro", &["--json", "{\"authToken\":\"broker+secret\",\"username\":5}"]),
            ("/mqtt/micro", &["--json", "{\"authToken\":\"broker+secret\"x}"]),
            ("/confo/broker+secret/x", &["-H", "x-token: broker+secret"]),
        ] {
            curl(&server, version, path, more);
        }
        post(&server, "/", &json!({"identity": account.identity, "rotate": "x"})).refusal(400, "Bad Request");
        post(&server, "/", &json!({"identity": account.identity}));
    }
    assert_eq!(ask(&server, "/mqtt/user", &[("username", name), ("password", password)]).body, "allow");
    let metrics =
        run_tool("curl", &["-sS", "--noproxy", "*", &format!("http://{}/metrics", server.admin_addr())]);
    let (metrics, said) = (metrics.succeeded(), server.stderr());
    assert!(metrics.contains("m0v_broker_answers_total{route=\"user\",answer=\"allow\"}"), "{metrics}");
    for secret in ["broker+secret", "broker%2Bsecret", "shown-token", password, &account.identity] {
        assert!(!said.contains(secret), "{secret} is in the log:\n{said}");
        assert!(!metrics.contains(secret), "{secret} is in the metrics");
    }
    assert!(!metrics.contains(name), "nobody's name is a metric");
    let audit = site.run(&["audit"]).succeeded();
    for secret in ["shown-token", password, &account.identity] {
        assert!(!audit.contains(secret), "{secret} is in the audit: {audit}");
    }
}
