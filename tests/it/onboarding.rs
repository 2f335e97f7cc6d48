//! Tokens, accounts, handshakes and what brokers are told, at the socket and on both stores.

use crate::{
    harness::{Engine, Server, Site, eventually, run_tool},
    http::{Answer, VERSIONS, Version, curl, get},
};
use serde_json::{Value, json};
use std::thread;

on_both_stores![
    a_token_makes_accounts_and_no_more_than_it_may,
    handshakes_are_noted_and_identities_rotate,
    everybody_gets_a_corner_of_their_own_without_any_token,
    rabbitmq_is_answered_in_its_own_words,
    mosquitto_and_micro_are_answered_in_their_own_words,
    what_an_operator_changes_is_in_force_within_a_second,
    bad_input_is_refused_and_leaves_no_trace,
    a_thousand_wrong_passwords_leave_the_meter_port_alone,
    the_example_data_can_be_tried_out,
];

pub(crate) const BROKER: &str = "[api]\nbroker_token = \"broker+secret\"\n";

/// A device's credentials.
pub(crate) struct Account {
    pub(crate) identity: String,
    pub(crate) username: String,
    pub(crate) password: String,
}

pub(crate) fn post(server: &Server<'_>, path: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let more = ["-H", "content-type: application/json", "--data-binary", &body];
    curl(server, Version::Http11, path, &more)
}

pub(crate) fn register(server: &Server<'_>, token: &str) -> Account {
    let answer = post(server, "/register", &json!({"onboardingToken": token})).json();
    assert_eq!(answer["isSuccessful"], json!(true), "{answer}");
    let text = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    Account { identity: text("identity"), username: text("username"), password: text("password") }
}

/// A form to a route of RabbitMQ's or mosquitto-go-auth's, with the broker token.
pub(crate) fn ask(server: &Server<'_>, path: &str, members: &[(&str, &str)]) -> Answer {
    let members: Vec<String> = members.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut more = vec!["-H", "authorization: Bearer broker+secret"];
    for member in &members {
        more.extend(["--data-urlencode", member]);
    }
    curl(server, Version::Http11, path, &more)
}

pub(crate) fn token(site: &Site, more: &[&str]) -> String {
    let mut arguments = vec!["token", "new"];
    arguments.extend_from_slice(more);
    site.run(&arguments).succeeded().trim().to_owned()
}

fn a_token_makes_accounts_and_no_more_than_it_may(engine: Engine) {
    let site = Site::with(engine, "[api]\nonboarding_token = \"from the config\"\n");
    let server = site.start();
    let three = token(&site, &["--name", "three", "--uses", "3", "--allow", "pub:devices/{device}/#"]);
    let refused = json!({"isSuccessful": false, "identity": null, "username": null, "password": null});
    let Account { identity, username, password } = register(&server, "from the config");
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    assert!(identity.len() == 64 && identity.strip_prefix("id-").is_some_and(is_plain), "{identity}");
    assert!(username.len() == 32 && username.strip_prefix("un-").is_some_and(is_plain), "{username}");
    assert!(password.len() == 32 && is_plain(&password));
    assert!(site.run(&["account", "show", &username]).succeeded().contains("pub:#\nsub:#\nhandshake "));
    for wrong in [json!("wrong"), json!(""), json!(null), json!("' OR 1=1 --"), json!("%"), json!("three")] {
        let answer = post(&server, "/register", &json!({"onboardingToken": wrong}));
        assert_eq!((answer.status, answer.json()), (200, refused.clone()), "{wrong}");
    }
    assert_eq!(post(&server, "/register", &json!({})).json(), refused);
    // Eight at once for three.
    let made: usize = thread::scope(|scope| {
        let ask = || {
            usize::from(
                post(&server, "/register", &json!({"onboardingToken": three})).json()["isSuccessful"]
                    == json!(true),
            )
        };
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        asked.into_iter().map(|asked| asked.join().expect("no panic")).sum()
    });
    assert_eq!((made, site.count("account")), (3, 4));
    assert!(
        site.run(&["token", "list"]).succeeded().starts_with("token three used up pub:devices/{device}/#\n")
    );

    let fourth =
        token(&site, &["--name", "fourth", "--expires", "30d", "--allow", "sub:a/+", "--allow", "pub:b"]);
    let account = register(&server, &fourth);
    assert!(site.run(&["account", "show", &account.username]).succeeded().contains("\npub:b\nsub:a/+\n"));
    site.run(&["token", "revoke", "fourth"]).succeeded();
    assert_eq!(post(&server, "/register", &json!({"onboardingToken": fourth})).json(), refused);
    site.run(&["token", "new", "--name", "fourth"]).failed();
    site.run(&["token", "revoke", "fifth"]).failed();
    for bad in [&["--uses", "0"][..], &["--expires", "yesterday"], &["--allow", "pub:a+"], &["--allow", "a"]]
    {
        site.run(&[&["token", "new", "--name", "bad"], bad].concat()).ended_with(64);
    }
    let listed = site.run(&["account", "list"]).succeeded();
    assert_eq!(listed.lines().count(), 5, "{listed}");
    let said = server.stderr();
    for secret in [&three, &fourth, &identity, &password, "from the config"] {
        assert!(!said.contains(secret), "{secret} is in the log");
    }
}

fn handshakes_are_noted_and_identities_rotate(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let account = register(&server, "");
    let greet = |body: &Value| post(&server, "/", body);
    assert_eq!(greet(&json!({"identity": account.identity})).json(), json!({"isSuccessful": true}));
    let unknown = json!({"isSuccessful": false});
    for other in [
        json!("id-x"),
        json!(""),
        json!(null),
        json!("x".repeat(10_240)),
        json!("é%_*"),
        json!(account.username),
    ] {
        let answer = greet(&json!({"identity": other, "onboardingToken": "wrong"}));
        assert_eq!((answer.status, answer.json()), (200, unknown.clone()), "{other}");
        assert_eq!(greet(&json!({"identity": other, "rotate": true})).json(), unknown, "{other}");
    }
    let rotated = greet(&json!({"identity": account.identity, "rotate": true})).json();
    let new = rotated["identity"].as_str().unwrap_or_else(|| panic!("{rotated}"));
    assert!(rotated["isSuccessful"] == json!(true) && new.len() == 64 && new.starts_with("id-"), "{rotated}");
    assert_eq!(greet(&json!({"identity": account.identity})).json(), unknown, "it was rotated");
    assert_eq!(greet(&json!({"identity": new, "rotate": false})).json(), json!({"isSuccessful": true}));
    assert_eq!(site.count("handshake"), 4, "registered, greeted, rotated, greeted");
    let shown = site.run(&["account", "show", &account.username]).succeeded();
    assert_eq!(shown.matches("Z from 127.0.0.1:").count(), 4, "{shown}");
    site.run(&["account", "disable", &account.username]).succeeded();
    assert_eq!(greet(&json!({"identity": new})).json(), unknown, "disabled");
}

fn everybody_gets_a_corner_of_their_own_without_any_token(engine: Engine) {
    let site = Site::with(engine, BROKER);
    let server = site.start();
    let said = site.run(&["check"]).said();
    assert!(said.contains("/register is open"), "{said}");
    let account = register(&server, "whatever the firmware holds");
    let topic = |key: &str| {
        let asked = [
            ("username", account.username.as_str()),
            ("name", "amq.topic"),
            ("permission", "write"),
            ("routing_key", key),
        ];
        ask(&server, "/mqtt/topic", &asked).body
    };
    assert_eq!(topic(&format!("{}.x", account.username)), "allow");
    assert_eq!(topic("elsewhere.x"), "deny");
    token(&site, &["--name", "first"]);
    let answer = post(&server, "/register", &json!({})).json();
    assert_eq!(answer["isSuccessful"], json!(false), "a token was made");
}

fn rabbitmq_is_answered_in_its_own_words(engine: Engine) {
    let site = Site::with(engine, BROKER);
    let server = site.start();
    let shown = token(
        &site,
        &["--name", "t", "--allow", "pub:a/{username}/+", "--allow", "sub:b/#", "--allow", "pub:x.y"],
    );
    let (ann, bob) = (register(&server, &shown), register(&server, &shown));
    let (name, password) = (ann.username.as_str(), ann.password.as_str());
    let word = |path: &str, members: &[(&str, &str)]| {
        let answer = ask(&server, path, members);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain; charset=utf-8")));
        answer.body
    };
    let user = |name: &str, password: &str, id: &str| {
        word("/mqtt/user", &[("username", name), ("password", password), ("client_id", id), ("vhost", "/")])
    };
    for _ in 0..2 {
        assert_eq!(user(name, password, "whatever"), "allow");
        assert_eq!(user(name, password, name), "allow");
        assert_eq!(user(name, password, &bob.username), "deny", "another's client id");
        for (name, password) in [
            (name, bob.password.as_str()),
            (name, ""),
            ("", ""),
            ("un-nobody", password),
            ("%", password),
            (&name.to_lowercase(), "x"),
        ] {
            assert_eq!(user(name, password, "x"), "deny", "{name}");
        }
    }
    assert_eq!(word("/mqtt/user", &[("username", name)]), "deny", "no password");
    assert_eq!(word("/mqtt/vhost", &[("username", name), ("vhost", "/"), ("ip", "::1")]), "allow");
    assert_eq!(word("/mqtt/vhost", &[("username", "nobody"), ("vhost", "/")]), "deny");
    for (vhost, id, expected) in [("/", "x", "allow"), ("/", "", "deny"), ("other", "x", "deny")] {
        let asked = [("username", name), ("vhost", vhost), ("client_id", id)];
        assert_eq!(word("/mqtt/vhost?vhost=/&protocol=mqtt", &asked), expected, "{vhost} {id}");
    }
    for (resource, queue, permission, expected) in [
        ("exchange", "amq.topic", "write", "allow"),
        ("exchange", "amq.topic", "configure", "deny"),
        ("exchange", "amq.default", "write", "deny"),
        ("queue", "mqtt-subscription-meqos1", "configure", "allow"),
        ("queue", &format!("mqtt-subscription-{}qos1", bob.username), "read", "deny"),
        ("queue", "orders", "read", "deny"),
        ("topic", "amq.topic", "read", "deny"),
    ] {
        let asked = [
            ("username", name),
            ("vhost", "/"),
            ("resource", resource),
            ("name", queue),
            ("permission", permission),
        ];
        assert_eq!(word("/mqtt/resource", &asked), expected, "{resource} {queue} {permission}");
    }
    for (permission, key, expected) in [
        ("write", &*format!("a.{name}.up"), "allow"),
        ("write", &*format!("a.{}.up", bob.username), "deny"),
        ("write", "a.*.up", "deny"),
        ("write", "x.y", "allow"),
        ("read", "b.#", "allow"),
        ("read", "b.*.c", "allow"),
        ("read", "#", "deny"),
        ("read", "a.#", "deny"),
        ("write", "b.c", "deny"),
        ("other", "b.c", "deny"),
        ("write", "", "deny"),
    ] {
        let asked = [
            ("username", name),
            ("vhost", "/"),
            ("resource", "topic"),
            ("name", "amq.topic"),
            ("permission", permission),
            ("routing_key", key),
        ];
        assert_eq!(word("/mqtt/topic", &asked), expected, "{permission} {key}");
    }
}

fn mosquitto_and_micro_are_answered_in_their_own_words(engine: Engine) {
    let site = Site::with(engine, BROKER);
    let server = site.start();
    let shown = token(
        &site,
        &["--name", "t", "--allow", "pub:a/{username}/+", "--allow", "sub:b/#", "--allow", "pub:x.y"],
    );
    let (ann, bob) = (register(&server, &shown), register(&server, &shown));
    let (name, password) = (ann.username.as_str(), ann.password.as_str());

    let json = |path: &str, body: &Value| post(&server, &format!("{path}?token=broker%2Bsecret"), body);
    let (yes, no) = (json!({"ok": true, "error": ""}), json!({"ok": false, "error": "refused"}));
    for (path, body, is_allowed) in [
        ("/mqtt/auth", json!({"username": name, "password": password, "clientid": "c"}), true),
        ("/mqtt/auth", json!({"username": name, "password": password, "clientid": bob.username}), false),
        ("/mqtt/auth", json!({"username": name, "password": "wrong", "clientid": "c"}), false),
        ("/mqtt/superuser", json!({"username": name}), false),
        (
            "/mqtt/acl",
            json!({"username": name, "topic": format!("a/{name}/x"), "acc": 2, "clientid": "c"}),
            true,
        ),
        ("/mqtt/acl", json!({"username": name, "topic": format!("a/{name}/x"), "acc": 1}), false),
        ("/mqtt/acl", json!({"username": name, "topic": "b/x", "acc": 1}), true),
        ("/mqtt/acl", json!({"username": name, "topic": "b/+", "acc": 1}), false),
        ("/mqtt/acl", json!({"username": name, "topic": "b/+", "acc": 4}), true),
        ("/mqtt/acl", json!({"username": name, "topic": "#", "acc": 4}), false),
        ("/mqtt/acl", json!({"username": name, "topic": "b/x", "acc": 3}), false),
        ("/mqtt/acl", json!({"username": name, "topic": "b/x"}), false),
        ("/mqtt/acl", json!({"username": name, "topic": "b/x", "acc": 99}), false),
    ] {
        let answer = json(path, &body);
        let expected = if is_allowed { (200, yes.clone()) } else { (403, no.clone()) };
        assert_eq!((answer.status, answer.json()), expected, "{path} {body}");
    }
    let form =
        ask(&server, "/mqtt/acl", &[("username", name), ("topic", "b/x"), ("acc", "1"), ("clientid", "c")]);
    assert_eq!(form.status, 200, "a form will do as well");

    let micro = |token: &str, password: &str| {
        post(&server, "/mqtt/micro", &json!({"authToken": token, "username": name, "password": password}))
    };
    let access = json!({"isAuthenticated": true, "publishAccess": [format!("a/{name}/+"), "x.y"], "subscribeAccess": ["b/#"]});
    assert_eq!(micro("broker+secret", password).json(), access);
    let refused = json!({"isAuthenticated": false, "publishAccess": null, "subscribeAccess": null});
    assert_eq!(micro("broker+secret", "wrong").json(), refused);
    micro("wrong", password).refusal(401, "Unauthorized");
    let said = server.stderr();
    assert!(!said.contains("broker+secret") && !said.contains("broker%2Bsecret") && !said.contains(password));
}

fn what_an_operator_changes_is_in_force_within_a_second(engine: Engine) {
    let site = Site::with(engine, BROKER);
    let server = site.start();
    let shown = token(&site, &["--name", "t", "--allow", "pub:a"]);
    let account = register(&server, &shown);
    let name = account.username.as_str();
    let user = || ask(&server, "/mqtt/user", &[("username", name), ("password", &account.password)]).body;
    let topic = |key: &str| {
        let asked =
            [("username", name), ("name", "amq.topic"), ("permission", "write"), ("routing_key", key)];
        ask(&server, "/mqtt/topic", &asked).body
    };
    let becomes = |what: &dyn Fn() -> String, word: &str| eventually(word, || (what() == word).then_some(()));
    assert_eq!((user(), topic("a"), topic("meter-7")), ("allow".into(), "allow".into(), "deny".into()));
    site.run(&["account", "disable", name]).succeeded();
    becomes(&user, "deny");
    becomes(&|| topic("a"), "deny");
    assert!(site.run(&["account", "list"]).succeeded().contains(&format!("{name} disabled ")));
    site.run(&["account", "enable", name]).succeeded();
    becomes(&user, "allow");
    site.run(&["account", "deny", name, "pub:a"]).succeeded();
    becomes(&|| topic("a"), "deny");
    site.run(&["account", "deny", name, "pub:a"]).failed();
    site.execute("INSERT INTO device (device_id) VALUES ('meter-7')");
    site.run(&["account", "tie", name, "meter-8"]).failed();
    site.run(&["account", "tie", name, "meter-7"]).succeeded();
    site.run(&["account", "allow", name, "pub:{device}"]).succeeded();
    becomes(&|| topic("meter-7"), "allow");
    site.execute("UPDATE device SET status = 'revoked'");
    becomes(&user, "deny");
    site.run(&["account", "untie", name]).succeeded();
    becomes(&user, "allow");
    for command in ["disable", "enable", "untie", "show"] {
        site.run(&["account", command, "un-nobody"]).failed();
    }
}

fn bad_input_is_refused_and_leaves_no_trace(engine: Engine) {
    let site = Site::with(engine, BROKER);
    let server = site.start();
    let account = register(&server, "");
    for path in ["/register", "/"] {
        curl(&server, Version::Http11, path, &["-X", "POST"]).refusal(400, "Bad Request");
        for body in [
            "",
            "null",
            "[]",
            "{",
            "{\"onboardingToken\":5,\"identity\":5}",
            "{\"onboardingToken\":\"a\\u0000\",\"identity\":\"a\\u0000\"}",
            "\u{1}",
        ] {
            let more = ["-H", "content-type: application/json", "--data-binary", body];
            curl(&server, Version::Http11, path, &more).refusal(400, "Bad Request");
        }
        for body in [
            json!({"onboardingToken": ["x"], "identity": {}}),
            json!({"onboardingToken": true, "identity": 1.5}),
        ] {
            post(&server, path, &body).refusal(400, "Bad Request");
        }
    }
    post(&server, "/", &json!({"identity": "x", "rotate": "yes"})).refusal(400, "Bad Request");
    let large = json!({"identity": "x".repeat(70_000), "onboardingToken": "x".repeat(70_000)}).to_string();
    let file = site.folder().join("large.json");
    std::fs::write(&file, large).expect("writes a body");
    let data = format!("@{}", file.display());
    for path in ["/", "/register"] {
        let more = ["-H", "content-type: application/json", "--data-binary", &data];
        curl(&server, Version::Http11, path, &more).refusal(413, "Payload Too Large");
    }
    get(&server, Version::Http11, "/register").refusal(405, "Method Not Allowed");
    get(&server, Version::Http11, "/mqtt/user").refusal(405, "Method Not Allowed");

    let form = ["--data-urlencode", "username=x", "--data-urlencode", "token=broker+secret"];
    for version in VERSIONS {
        for (path, headers) in [
            ("/mqtt/user", &[][..]),
            ("/mqtt/user?token=", &[]),
            ("/mqtt/user?token=wrong", &[]),
            ("/mqtt/user?token=broker%2Bsecret&token=broker%2Bsecret", &[]),
            ("/mqtt/user?Token=broker%2Bsecret", &[]),
            ("/mqtt/user", &["-H", "authorization: broker+secret"]),
            ("/mqtt/user", &["-H", "authorization: Basic broker+secret"]),
            ("/mqtt/user?token=broker%2Bsecret", &["-H", "authorization: Bearer wrong"]),
        ] {
            let more = [headers, &form].concat();
            let message = curl(&server, version, path, &more).refusal(401, "Unauthorized");
            assert!(!message.contains("secret"), "{message}");
        }
    }
    let name = account.username.as_str();
    for password in ["\u{fffd}é🔌", "a\u{1}b", &"x".repeat(10_240), "%00", "' OR '1'='1"] {
        assert_eq!(ask(&server, "/mqtt/user", &[("username", name), ("password", password)]).body, "deny");
    }
    let raw = |body: &str| {
        let more = ["-H", "authorization: Bearer broker+secret", "--data-binary", body];
        curl(&server, Version::Http11, "/mqtt/user", &more)
    };
    assert_eq!(raw(&format!("username={name}&password=a%00b")).body, "deny");
    assert_eq!(raw("username=%00&password=x").body, "deny");
    raw("username=%ff&password=x").refusal(400, "Bad Request");
    raw("username=a&username=b").refusal(400, "Bad Request");
    for bad in ["%", "_", "*", "un-%", "' OR '1'='1' --"] {
        assert_eq!(ask(&server, "/mqtt/vhost", &[("username", bad)]).body, "deny", "{bad}");
    }
    assert_eq!((site.count("account"), site.count("handshake")), (1, 1));
    drop(server);

    let site = Site::new(engine);
    let server = site.start();
    for route in ["user", "vhost", "resource", "topic", "auth", "acl", "superuser", "micro"] {
        let more = ["-H", "authorization: Bearer x", "-d", "username=x"];
        curl(&server, Version::Http11, &format!("/mqtt/{route}"), &more).refusal(404, "Not Found");
    }
    let said = site.run(&["check"]).said();
    assert!(said.contains("[api] broker_token is not set: no broker can ask"), "{said}");
}

fn a_thousand_wrong_passwords_leave_the_meter_port_alone(engine: Engine) {
    let site = Site::with(engine, BROKER);
    let server = site.start_with_device();
    let account = register(&server, "");
    // Connections with a hundred requests each, as a broker has it, every one with another password.
    let guess = |hundred: usize| {
        let url = format!("https://localhost:{}/mqtt/user", server.api_addr().port());
        let requests = (0..100).map(|number| {
            let name = if number % 2 == 0 { account.username.as_str() } else { "un-nobody" };
            format!(
                "url = {url}\ndata = \"username={name}&password=wrong{hundred}-{number}\"\n\
                 header = \"authorization: Bearer broker+secret\"\ncacert = {}\n\
                 silent\nshow-error\nnoproxy = \"*\"\n",
                server.ca_file().display()
            )
        });
        let file = site.folder().join(format!("wrong-{hundred}.curl"));
        std::fs::write(&file, requests.collect::<Vec<_>>().join("next\n")).expect("writes a script");
        let said = run_tool("curl", &["-K", file.to_str().expect("text")]).succeeded();
        assert_eq!(said, "deny".repeat(100));
    };
    thread::scope(|scope| {
        let guessed = scope.spawn(|| (0..10).for_each(guess));
        let mut meter = server.meter();
        for _ in 0..50 {
            assert_eq!(meter.ask(r#"{"id":17,"status":true}"#), "Thank you");
        }
        guessed.join().expect("every guess is denied");
    });
    let right = [("username", account.username.as_str()), ("password", account.password.as_str())];
    assert_eq!(ask(&server, "/mqtt/user", &right).body, "allow", "and nobody is locked out");
}

fn the_example_data_can_be_tried_out(engine: Engine) {
    let site = Site::with(engine, BROKER);
    let server = site.start();
    site.execute(include_str!("../../examples/seed.sql"));
    let user = |name: &str, password: &str| {
        ask(&server, "/mqtt/user", &[("username", name), ("password", password)]).body
    };
    assert_eq!(
        (user("admin", "123"), user("user", "456"), user("user", "123")),
        ("allow".into(), "allow".into(), "deny".into())
    );
    let greeted = post(&server, "/", &json!({"identity": "id-of-the-example-user"})).json();
    assert_eq!(greeted, json!({"isSuccessful": true}));
    let acl = |topic: &str| {
        ask(&server, "/mqtt/acl", &[("username", "user"), ("topic", topic), ("acc", "2")]).status
    };
    assert_eq!((acl("sensors/1/metrics/power"), acl("sensors/1/actions/stop")), (200, 403));
    register(&server, "example-onboarding-token");
    assert_eq!(server.meter().ask(r#"{"id":1001,"status":true,"voltage":230.1}"#), "Thank you");
}
