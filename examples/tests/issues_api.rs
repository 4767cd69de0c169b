//! The service of the examples on a real Redis, asked as `curl` asks it, while `MONITOR` looks on.
//!
//! `cargo test -p examples` builds it first; so does `cargo test` at the top.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use support::{PATIENCE, RedisServer, Seen, wait_until};

const LIST: &str = "/api/v1/issues?organization=myorg&project=myproject&status=unresolved";
const ISSUE: &str = "/api/v1/issues/7";
const DAYS: &str = "/api/v1/analytics/days?organization=myorg";

struct Service {
    process: Child,
    address: String,
    _folder: tempfile::TempDir,
}

struct Answer {
    status: String,
    x_cache: Option<String>,
    cache_control: Option<String>,
    body: String,
}

impl Service {
    fn start(redis: &RedisServer) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let test = std::env::current_exe().expect("the test knows its path");
        let profile = test.parent().and_then(|deps| deps.parent());
        let program = profile
            .expect("it lies in a folder of a folder")
            .join("examples/issues_api");
        let mut process = Command::new(program)
            .env("REDIS_URL", redis.url())
            .env("PORT", "0")
            .env("ISSUES_DB", folder.path().join("issues.sqlite3"))
            .env_remove("DEXTER_CACHE")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example is built");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let address = loop {
            let line = lines
                .next()
                .expect("it listens before it ends")
                .expect("it writes text");
            if let Some((_, address)) = line.split_once("listening on http://") {
                break address.to_owned();
            }
        };
        // Read on, or the service would wait for somebody to read its log.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            address,
            _folder: folder,
        }
    }

    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).expect("it accepts");
        let (host, length) = (&self.address, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
        )
        .expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let header = |name: &str| {
            let mut values = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .filter(|(header, _)| header.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_owned());
            let first = values.next();
            assert_eq!(values.next(), None, "{name} twice:\n{head}");
            first
        };
        Answer {
            status: head.get(9..12).expect("a status").to_owned(),
            x_cache: header("x-cache"),
            cache_control: header("cache-control"),
            body: body.to_owned(),
        }
    }

    fn get(&self, path: &str) -> Answer {
        let answer = self.send("GET", path, "", "");
        assert_eq!(answer.status, "200", "{path}: {}", answer.body);
        answer
    }

    /// Asks until the answer comes from the cache: a value is stored behind the first answer.
    fn get_hit(&self, path: &str) -> Answer {
        let mut hit = None;
        wait_until("a hit", PATIENCE, || {
            hit = Some(self.get(path)).filter(|answer| answer.x_cache.as_deref() == Some("HIT"));
            hit.is_some()
        });
        hit.expect("it was waited for")
    }

    fn set_status(&self, query: &str, status: &str) {
        let answer = self.send(
            "PATCH",
            &format!("{ISSUE}{query}"),
            "content-type: application/json\r\n",
            &format!(r#"{{"status":"{status}"}}"#),
        );
        assert_eq!(answer.status, "200", "{}", answer.body);
        assert_eq!(answer.cache_control, None);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Answer {
    fn is(&self, x_cache: &str) -> bool {
        self.x_cache.as_deref() == Some(x_cache)
    }

    fn max_age(&self) -> u64 {
        let value = self.cache_control.as_deref().expect("a Cache-Control");
        let seconds = value.strip_prefix("max-age=").expect("a max-age alone");
        seconds.parse().expect("a number")
    }
}

fn keys(redis: &RedisServer) -> Vec<String> {
    let mut keys: Vec<String> = redis
        .cli(&["KEYS", "*"])
        .lines()
        .filter(|key| !key.starts_with("dexter-cache:"))
        .map(str::to_owned)
        .collect();
    keys.sort();
    keys
}

/// What was asked of data, without what a connection says of itself.
fn of_data(seen: Vec<Seen>) -> Vec<Vec<String>> {
    const TALK: [&str; 5] = ["PING", "TIME", "HELLO", "CLIENT", "INFO"];
    seen.into_iter()
        .map(|seen| seen.args)
        .filter(|args| !TALK.contains(&args[0].as_str()))
        .collect()
}

#[test]
fn what_clients_and_the_server_see() {
    let redis = RedisServer::start();
    redis.cli(&["SET", "session:1", "of somebody else"]);
    let mut monitor = redis.monitor();
    let service = Service::start(&redis);

    for (path, ttl) in [(LIST, 300), (ISSUE, 60), (DAYS, 600)] {
        let miss = service.get(path);
        assert!(miss.is("MISS"), "{path}");
        assert!(miss.max_age() <= ttl, "{path}");
        let hit = service.get_hit(path);
        assert!(hit.max_age() <= miss.max_age(), "{path}");
        assert_eq!(hit.body, miss.body, "{path}");
    }
    assert_eq!(
        keys(&redis),
        [
            "analytics_days:organization=myorg",
            "get_issue:id=7",
            "list_issues:organization=myorg&project=myproject&status=unresolved",
            "session:1",
        ]
    );
    // The test's own KEYS.
    let seen = of_data(monitor.take());
    let swept = |args: &Vec<String>| ["SCAN", "FLUSHDB", "FLUSHALL"].contains(&args[0].as_str());
    assert!(!seen.iter().any(swept), "{seen:?}");
    assert_eq!(seen.iter().filter(|args| args[0] == "KEYS").count(), 1);

    for (path, key) in [
        (
            LIST,
            "list_issues:organization=myorg&project=myproject&status=unresolved",
        ),
        (ISSUE, "get_issue:id=7"),
        (DAYS, "analytics_days:organization=myorg"),
    ] {
        service.get_hit(path);
        assert_eq!(of_data(monitor.take()), [["GET", key]], "{path}");
    }

    let bypassed = service.get(&format!("{ISSUE}?no_cache=true"));
    assert!(bypassed.is("BYPASS"));
    assert_eq!(bypassed.cache_control.as_deref(), Some("no-store"));
    let seen = of_data(monitor.take());
    assert!(seen.is_empty(), "past the cache: {seen:?}");
    let private = service.send("GET", ISSUE, "authorization: Bearer ada\r\n", "");
    assert!(
        private
            .cache_control
            .is_some_and(|value| value.starts_with("private, max-age="))
    );

    // To ask for a bypass keeps no write from removing what it makes untrue.
    for (query, status) in [("", "resolved"), ("?no_cache=true", "ignored")] {
        service.get_hit(ISSUE);
        service.get_hit(LIST);
        service.set_status(query, status);
        // At once, unless the machine is so busy that a sweep outlasts the budget of the call.
        wait_until("the sweeps to end", PATIENCE, || {
            keys(&redis) == ["session:1"]
        });
        let fresh = service.get(ISSUE);
        assert!(fresh.is("MISS"), "{status}");
        assert!(
            fresh.body.contains(&format!(r#""status":"{status}""#)),
            "{}",
            fresh.body
        );
        assert!(service.get(LIST).is("MISS"), "{status}");
    }
    let names = monitor.names();
    assert!(
        names.iter().any(|name| name == "SCAN"),
        "a pattern is swept"
    );
    assert!(
        !names.iter().any(|name| name.starts_with("FLUSH")),
        "{names:?}"
    );

    let lost = service.send("GET", "/api/v1/issues/999999", "", "");
    assert_eq!((lost.status.as_str(), lost.cache_control), ("404", None));
}

#[test]
fn redis_is_killed_and_comes_back_with_what_it_held() {
    let redis = RedisServer::start();
    let service = Service::start(&redis);
    let whole = |yes: bool| {
        wait_until("the cache to notice", PATIENCE, || {
            service
                .get("/healthz")
                .body
                .contains(&format!(r#""backend_in_use":{yes}"#))
        });
    };
    service.get(ISSUE);
    service.get_hit(ISSUE);
    redis.save();
    redis.kill9();

    // No request fails. Memory keeps what is loaded for half a minute, and says no more than that.
    service.get(ISSUE);
    assert!(service.get_hit(ISSUE).max_age() <= 30);
    service.set_status("", "ignored");
    whole(false);

    redis.restart_with_data();
    whole(true);
    let after = service.get(ISSUE);
    assert!(
        after.body.contains(r#""status":"ignored""#),
        "{}",
        after.body
    );
}
