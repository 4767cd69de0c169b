//! The table of addresses. What needs a server is tested in the `tests` package.

use super::RedisConfig;
use super::config::{Address, Protocol};
use crate::error::ErrorKind;

fn parse(url: &str) -> RedisConfig {
    RedisConfig::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// The message for an address that must be refused.
fn refused(url: &str) -> String {
    let error = RedisConfig::parse(url).expect_err(url);
    assert_eq!(error.kind(), ErrorKind::Config, "{url}");
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(
            !shown.contains("s3cret") && !shown.contains("w0rd"),
            "{url} shows its password: {shown}"
        );
    }
    error.to_string()
}

fn tcp(config: &RedisConfig) -> (&str, u16, u32) {
    match &config.address {
        Address::Tcp { host, port } => (host, *port, config.db),
        Address::Unix(path) => panic!("a socket: {path}"),
    }
}

fn credentials(config: &RedisConfig) -> (Option<&str>, Option<&str>) {
    (config.username.as_deref(), config.password.as_deref())
}

#[test]
fn tcp_addresses() {
    for (url, host, port, db) in [
        ("redis://localhost", "localhost", 6379, 0),
        ("redis://localhost/", "localhost", 6379, 0),
        ("redis://localhost:7000", "localhost", 7000, 0),
        ("redis://localhost:7000/15", "localhost", 7000, 15),
        ("redis://localhost/3/", "localhost", 6379, 3),
        (
            "REDIS://my-host.example.com:1/2147483647",
            "my-host.example.com",
            1,
            2_147_483_647,
        ),
        ("valkey://10.0.0.7:65535", "10.0.0.7", 65535, 0),
        ("redis://[::1]:7000/1", "::1", 7000, 1),
        ("redis://[fe80::1]", "fe80::1", 6379, 0),
        ("localhost:6380", "localhost", 6380, 0),
        ("10.0.0.7:6380/2", "10.0.0.7", 6380, 2),
        ("  redis://padded:1  ", "padded", 1, 0),
    ] {
        assert_eq!(tcp(&parse(url)), (host, port, db), "{url}");
    }
}

#[test]
fn credentials_are_percent_decoded() {
    for (url, user, password) in [
        ("redis://host", None, None),
        ("redis://:s3cret@host", None, Some("s3cret")),
        ("redis://app:s3cret@host", Some("app"), Some("s3cret")),
        ("redis://app:@host", Some("app"), Some("")),
        ("redis://:@host", None, None),
        (
            "redis://a%40b:p%2Fq%3Fr%23s%25t%3Au%C3%A9@host",
            Some("a@b"),
            Some("p/q?r#s%t:u\u{e9}"),
        ),
        ("redis://:100%sure%2@host", None, Some("100%sure%2")),
        ("redis://:a:b@c,d@host", None, Some("a:b@c,d")),
        ("app:s3cret@host:6379", Some("app"), Some("s3cret")),
    ] {
        let config = parse(url);
        assert_eq!(credentials(&config), (user, password), "{url}");
        assert_eq!(tcp(&config), ("host", 6379, 0), "{url}");
    }
}

#[test]
fn sockets() {
    for url in [
        "unix:///run/redis.sock?db=3&user=app&pass=s3cret%21",
        "redis+unix:///run/redis.sock?user=app&pass=s3cret%21&db=3",
        "valkey+unix:///run/redis.sock?user=app&db=3&pass=s3cret%21&protocol=3",
        "redis-socket:///run/redis%2Esock?user=app&db=3&pass=s3cret%21",
    ] {
        let config = parse(url);
        assert_eq!(
            config.address,
            Address::Unix("/run/redis.sock".into()),
            "{url}"
        );
        assert_eq!(
            (config.db, credentials(&config)),
            (3, (Some("app"), Some("s3cret!"))),
            "{url}"
        );
    }
    assert!(refused("unix://run/redis.sock").contains("unix:///"));
    assert!(refused("unix:///").contains("unix:///"));
    assert!(refused("/run/redis.sock").contains("unix:///"));
    assert!(refused("unix:///run/redis.sock?user=app").contains("pass="));
    assert!(refused("unix:///run/redis.sock?db=-1").contains("number"));
    assert!(refused("unix:///run/redis.sock?pass=s3cret&w0rd").contains("%26"));
    assert!(refused("unix:///run/redis.sock?timeout=1").contains("`timeout`"));
}

#[test]
fn protocols() {
    for (query, protocol) in [
        ("", None),
        ("?protocol=2", Some(Protocol::Resp2)),
        ("/?protocol=resp2", Some(Protocol::Resp2)),
        ("/3?protocol=3", Some(Protocol::Resp3)),
        ("?protocol=resp3", Some(Protocol::Resp3)),
    ] {
        assert_eq!(
            parse(&format!("redis://host{query}")).protocol,
            protocol,
            "{query}"
        );
    }
    assert!(refused("redis://host?protocol=resp4").contains("2 or 3"));
}

#[test]
fn what_this_version_does_not_speak_is_said_so() {
    for (url, says) in [
        ("rediss://:s3cret@host", "TLS"),
        ("valkeys://:s3cret@host", "TLS"),
        ("redis-cluster://:s3cret@a,b", "cluster"),
        ("redis+cluster://:s3cret@a:1,b:2", "cluster"),
        ("rediss+cluster://:s3cret@a:1", "cluster"),
        ("redis+sentinel://:s3cret@h1,h2/name/0", "Sentinel"),
        ("redis-sentinel://:s3cret@h1,h2/name/0", "Sentinel"),
        ("redis://a,b", "cluster"),
        ("redis://:s3cret@a:1,b:2", "cluster"),
        ("a:1,b:2", "cluster"),
    ] {
        let message = refused(url);
        assert!(
            message.contains(says) && message.contains("redis://"),
            "{url}: {message}"
        );
    }
}

#[test]
fn mistakes_are_told_with_what_to_write_instead() {
    for (url, says) in [
        ("", "redis://host:6379/0"),
        ("   ", "redis://host:6379/0"),
        ("memory", "redis://host:6379/0"),
        ("localhost", "redis://host:6379/0"),
        ("http://s3cret@host", "redis://host:6379/0"),
        ("://host", "redis://host:6379/0"),
        ("redis://", "names no host"),
        ("redis:///3", "names no host"),
        ("redis://:s3cret@", "names no host"),
        ("redis://:s3cret@:6379", "names no host"),
        ("redis://s3cret@host", "redis://:password@host"),
        ("redis://:s3cret@host:0", "1 to 65535"),
        ("redis://:s3cret@host:65536", "1 to 65535"),
        ("redis://:s3cret@host:port", "1 to 65535"),
        ("redis://:s3cret@host:", "1 to 65535"),
        ("redis://:s3cret@host:+1", "1 to 65535"),
        ("redis://host/-1", "database"),
        ("redis://host/x", "database"),
        ("redis://host/2147483648", "database"),
        ("redis://host/99999999999999999999", "database"),
        ("redis://host/+1", "database"),
        ("redis://host/0/1", "database"),
        ("redis://host/?db=3", "redis://host:6379/3"),
        ("redis://:s3cret@host?timeout=5", "`timeout`"),
        ("redis://host/#insecure", "#"),
        ("redis://host#x", "#"),
        ("redis://0.0.0.0", "127.0.0.1"),
        ("redis://[::]:6379", "127.0.0.1"),
        ("redis://::1:6379", "[::1]"),
        ("redis://[::1", "]"),
        ("redis://[::1]6379", "[::1]:6379"),
        ("redis://[s3cret]", "IPv6"),
        ("redis://ho st", "host name"),
        ("redis://h%6Fst", "host name"),
        ("redis://:%ff%fe@host", "UTF-8"),
        // A password that was not encoded ends the host where it should not.
        ("redis://:s3cret/w0rd@host", "%2F"),
        ("redis://:s3cret?w0rd@host", "%3F"),
        ("redis://:s3cret#w0rd@host", "%23"),
        ("redis://app:s3cret/w0rd@host:6379/0?protocol=3", "%2F"),
        ("s3cret:w0rd@host", "redis://"),
    ] {
        let message = refused(url);
        assert!(message.contains(says), "{url}: {message}");
    }
}

#[test]
fn nothing_shows_the_password() {
    let config = parse("redis://app:s3cret@host:7000/2");
    assert_eq!(config.to_string(), "redis://host:7000/2");
    assert!(!format!("{config:?} {config:#?}").contains("s3cret"));
    assert!(format!("{config:?}").contains("app"));
    let backend = super::RedisBackend::new(config);
    assert!(!format!("{backend:?} {backend:#?}").contains("s3cret"));
    assert_eq!(parse("redis://[::1]").to_string(), "redis://[::1]:6379/0");
    assert_eq!(
        parse("unix:///s?pass=s3cret&db=1").to_string(),
        "unix:///s?db=1"
    );
}

#[test]
fn what_is_shown_can_be_read_again() {
    for url in [
        "redis://host:7000/2",
        "redis://[fe80::2]:1/0",
        "unix:///run/redis.sock?db=1",
        "unix:///run/redis.sock",
    ] {
        let config = parse(url);
        assert_eq!(config.to_string(), url);
        assert_eq!(config.to_string().parse::<RedisConfig>().unwrap(), config);
    }
}
