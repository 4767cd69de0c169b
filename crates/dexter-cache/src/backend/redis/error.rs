//! What an answer of Redis means to a cache.

use std::error::Error as _;
use std::io;

use redis::{ErrorKind as RedisKind, RedisError, ServerError};

use super::config::RedisConfig;
use crate::error::{Error, ErrorKind};

/// An error of the client library, as ours.
///
/// Its own text is never passed on as it is: for a command that the server does not know it repeats the first
/// arguments, and those are credentials and values.
pub(super) fn from_redis(config: &RedisConfig, error: &RedisError) -> Error {
    if let Some(code) = error.code() {
        return from_server(config, code, error.detail());
    }
    match error.kind() {
        RedisKind::AuthenticationFailed => denied(config, "the log-in failed"),
        RedisKind::Io => {
            let cause = error
                .source()
                .and_then(|source| source.downcast_ref::<io::Error>());
            match cause {
                Some(cause) => from_io(config, cause),
                None => unavailable(config, "the connection broke off"),
            }
        }
        RedisKind::Parse => unavailable(config, "what it answered is not the protocol of Redis"),
        kind => Error::new(
            ErrorKind::Backend,
            format!("{config}: the client library failed ({kind:?})"),
        ),
    }
}

pub(super) fn from_reply(config: &RedisConfig, error: &ServerError) -> Error {
    if error.code() == "NOAUTH" {
        // It was logged in when it came into use: this refuses all work, and not this piece of it.
        return not_ready(config, "NOAUTH: the connection is not logged in any more");
    }
    from_server(config, error.code(), error.details())
}

/// The first words of a server, before a connection comes into use.
pub(super) fn from_greeting(config: &RedisConfig, error: &ServerError) -> Error {
    from_server(config, error.code(), error.details())
}

pub(super) fn from_io(config: &RedisConfig, error: &io::Error) -> Error {
    unavailable(config, &error.to_string())
}

pub(super) fn unavailable(config: &RedisConfig, why: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{config}: {why}"))
}

pub(super) fn timeout(config: &RedisConfig, what: &str) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("{config}: no answer in time {what}"),
    )
}

pub(super) fn not_ready(config: &RedisConfig, why: &str) -> Error {
    Error::new(ErrorKind::NotReady, format!("{config}: {why}"))
}

pub(super) fn unexpected(config: &RedisConfig, what: &str) -> Error {
    Error::new(
        ErrorKind::Backend,
        format!("{config}: an answer to {what} of a kind that this version does not know"),
    )
}

pub(super) fn cluster(config: &RedisConfig) -> Error {
    let why = "it is a node of a cluster, and clusters are not supported yet";
    Error::new(ErrorKind::Config, format!("{config}: {why}"))
}

fn denied(config: &RedisConfig, why: &str) -> Error {
    Error::new(ErrorKind::Denied, format!("{config}: {why}"))
}

fn from_server(config: &RedisConfig, code: &str, detail: Option<&str>) -> Error {
    // Everything from here on may be arguments.
    let detail = detail.unwrap_or_default();
    let detail = detail
        .split(", with args")
        .next()
        .unwrap_or_default()
        .trim_end_matches('.');
    let kind = match code {
        "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "BUSY" | "READONLY" | "MISCONF"
        | "NOREPLICAS" | "TRYAGAIN" => ErrorKind::NotReady,
        "OOM" => ErrorKind::OutOfMemory,
        "NOAUTH" | "WRONGPASS" | "NOPERM" => ErrorKind::Denied,
        "WRONGTYPE" => ErrorKind::WrongType,
        "MOVED" | "ASK" | "CROSSSLOT" => return cluster(config),
        "ERR" if detail.contains("max number of clients") => ErrorKind::NotReady,
        "ERR" if detail.contains("DB index is out of range") => ErrorKind::Config,
        "ERR" if detail.contains("without any password configured") => ErrorKind::Denied,
        _ => ErrorKind::Backend,
    };
    Error::new(
        kind,
        format!("{config}: {code} {detail}").trim_end().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scar_3_what_a_server_says_when_it_cannot_serve_is_an_outage_and_no_error_of_a_command() {
        let config = RedisConfig::parse("redis://localhost").unwrap();
        for (code, detail) in [
            ("LOADING", "Redis is loading the dataset in memory"),
            ("BUSY", "Redis is busy running a script"),
            ("READONLY", "You can't write against a read only replica."),
            ("MASTERDOWN", "Link with MASTER is down"),
            ("MISCONF", "Redis is configured to save RDB snapshots"),
            ("NOREPLICAS", "Not enough good replicas to write."),
            ("TRYAGAIN", "Multiple keys request during rehashing of slot"),
            ("ERR", "max number of clients reached"),
        ] {
            let error = from_server(&config, code, Some(detail));
            assert_eq!(error.kind(), ErrorKind::NotReady, "{code} {detail}");
        }
    }
}
