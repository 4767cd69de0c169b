//! The text of an address, read by hand: libraries take lists of hosts for one name, ignore what they do not know, and
//! put the text that they could not read into their messages, password and all.
//!
//! So no message in here repeats anything that may be a part of a password. What follows `://` up to the last `@` may
//! be; a port may be one, where a `/` in a password was not encoded; the name of a query key is shown only where no
//! `@` comes later.

use super::config::{Address, Protocol, RedisConfig};
use crate::error::{Error, ErrorKind};

const FORM: &str =
    "write redis://host:6379/0, with user:password@ in front of the host if the server asks for it";
const ENCODE: &str =
    "characters such as / ? # @ in a user name or password are written as %2F %3F %23 %40";

pub(super) fn parse(url: &str) -> Result<RedisConfig, Error> {
    let url = url.trim();
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None if url.is_empty() => return bad(&format!("the address of Redis is empty; {FORM}")),
        None if url.starts_with('/') => {
            return bad("a Unix socket is written as unix:///path/to/redis.sock");
        }
        None if names_port(url) => ("redis".to_owned(), url),
        None => return bad(&format!("the address of Redis has no scheme; {FORM}")),
    };
    match scheme.as_str() {
        "redis" | "valkey" => tcp(rest),
        "unix" | "redis+unix" | "valkey+unix" | "redis-socket" | "valkey-socket" => unix(rest),
        "rediss" | "valkeys" => bad(
            "TLS addresses are not supported yet; use redis:// through a TLS tunnel on this machine",
        ),
        scheme if scheme.contains("cluster") => bad(
            "cluster addresses are not supported yet; name one standalone server as redis://host:6379/0",
        ),
        scheme if scheme.contains("sentinel") => {
            bad("Sentinel addresses are not supported yet; name the primary as redis://host:6379/0")
        }
        _ => bad(&format!(
            "the scheme of this address is not one of Redis; {FORM}"
        )),
    }
}

fn tcp(rest: &str) -> Result<RedisConfig, Error> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if tail.contains('@') {
        return bad(&format!(
            "an `@` stands behind the host of this address; {ENCODE}"
        ));
    }
    let (userinfo, host) = match authority.rsplit_once('@') {
        Some((userinfo, host)) => (Some(userinfo), host),
        None => (None, authority),
    };
    if host.contains(',') {
        return bad(
            "several hosts mean a cluster, which is not supported yet; name one server as redis://host:6379/0",
        );
    }
    let (host, port) = host_and_port(host)?;
    let (path, query) = path_and_query(tail)?;
    let mut config = RedisConfig::new(Address::Tcp { host, port });
    config.db = match path.trim_matches('/') {
        "" => 0,
        db => database(db)?,
    };
    if let Some(userinfo) = userinfo {
        (config.username, config.password) = credentials(userinfo)?;
    }
    for (name, value) in pairs(query) {
        match name {
            "protocol" => config.protocol = Some(protocol(value)?),
            "db" | "database" => {
                return bad("the database is the path of the address: redis://host:6379/3");
            }
            name => return unknown(name, "protocol"),
        }
    }
    Ok(config)
}

fn unix(rest: &str) -> Result<RedisConfig, Error> {
    if !rest.starts_with('/') {
        return bad(
            "a Unix socket takes three slashes and an absolute path: unix:///path/to/redis.sock",
        );
    }
    let (path, query) = path_and_query(rest)?;
    let Some(path) = decode(path).filter(|path| path.len() > 1) else {
        return bad("the address names no socket; write unix:///path/to/redis.sock");
    };
    let mut config = RedisConfig::new(Address::Unix(path));
    for (name, value) in pairs(query) {
        match name {
            "protocol" => config.protocol = Some(protocol(value)?),
            "db" => config.db = database(value)?,
            "user" => config.username = Some(text(value)?),
            "pass" => config.password = Some(text(value)?),
            // It may be the rest of that password.
            _ if config.password.is_some() => {
                return bad(
                    "an option that is unknown follows `pass`; an `&` in a password is written as %26",
                );
            }
            name => return unknown(name, "db, user, pass, protocol"),
        }
    }
    if config.username.is_some() && config.password.is_none() {
        return bad("the address names a user without a password; add pass=");
    }
    Ok(config)
}

fn host_and_port(text: &str) -> Result<(String, u16), Error> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((host, rest)) = rest.split_once(']') else {
            return bad("an IPv6 address ends with `]`, as in redis://[::1]:6379/0");
        };
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return bad(
                "what stands in brackets is not an IPv6 address, as in redis://[::1]:6379/0",
            );
        }
        match rest.strip_prefix(':') {
            None if !rest.is_empty() => {
                return bad("a port follows `]` after a colon: redis://[::1]:6379/0");
            }
            port => (host, port),
        }
    } else {
        match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return bad("an IPv6 address is written in brackets: redis://[::1]:6379/0");
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() {
        return bad(&format!("the address names no host; {FORM}"));
    }
    if !host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte))
    {
        return bad(&format!(
            "the host of this address holds a character that no host name has; {ENCODE}"
        ));
    }
    if host == "0.0.0.0" || host.parse() == Ok(std::net::Ipv6Addr::UNSPECIFIED) {
        return bad(
            "0.0.0.0 and [::] are addresses to listen on; to reach a server on this machine write 127.0.0.1",
        );
    }
    let port = match port {
        None => 6379,
        Some(port) => match port.parse() {
            Ok(port) if port != 0 && !port_sign(text) => port,
            _ => {
                return bad(&format!(
                    "the port of this address is no number from 1 to 65535; {ENCODE}"
                ));
            }
        },
    };
    Ok((host.to_owned(), port))
}

/// `u16::from_str` takes a plus sign.
fn port_sign(text: &str) -> bool {
    text.contains('+')
}

fn path_and_query(tail: &str) -> Result<(&str, &str), Error> {
    if tail.contains('#') {
        return bad(&format!(
            "nothing may follow a `#` in this address; {ENCODE}"
        ));
    }
    Ok(tail.split_once('?').unwrap_or((tail, "")))
}

fn credentials(userinfo: &str) -> Result<(Option<String>, Option<String>), Error> {
    let Some((user, password)) = userinfo.split_once(':') else {
        return bad(
            "the address names a user without a password; write redis://user:password@host, or redis://:password@host \
             where there is only a password",
        );
    };
    let (user, password) = (text(user)?, text(password)?);
    // A user may have an empty password; the default user without one needs no log-in.
    let password = (!user.is_empty() || !password.is_empty()).then_some(password);
    Ok(((!user.is_empty()).then_some(user), password))
}

fn database(text: &str) -> Result<u32, Error> {
    // The server counts databases in an `int`.
    match text.parse::<u32>() {
        Ok(db) if i32::try_from(db).is_ok() && !text.starts_with('+') => Ok(db),
        _ => {
            bad("the database is a number such as 0 or 15: redis://host:6379/0, unix:///path?db=0")
        }
    }
}

fn protocol(text: &str) -> Result<Protocol, Error> {
    match text {
        "2" | "resp2" => Ok(Protocol::Resp2),
        "3" | "resp3" => Ok(Protocol::Resp3),
        _ => bad("`protocol` is 2 or 3"),
    }
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn text(encoded: &str) -> Result<String, Error> {
    match decode(encoded) {
        Some(text) => Ok(text),
        None => bad(
            "the user name or password of this address is not UTF-8 once its percent signs are decoded",
        ),
    }
}

/// Percent-decodes. A percent sign without two hex digits stands for itself.
fn decode(encoded: &str) -> Option<String> {
    let bytes = encoded.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| Some((hex(*bytes.get(at + 1)?)?, hex(*bytes.get(at + 2)?)?)));
        if let Some(Some((high, low))) = escaped {
            out.push(high << 4 | low);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// Whether a text without a scheme is `host:port`, with or without more around it.
fn names_port(url: &str) -> bool {
    let authority = url.split(['/', '?', '#']).next().unwrap_or_default();
    authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

fn unknown<T>(name: &str, known: &str) -> Result<T, Error> {
    bad(&format!(
        "`{name}` is not an option of an address of Redis; known here: {known}"
    ))
}

fn bad<T>(message: &str) -> Result<T, Error> {
    Err(Error::new(ErrorKind::Config, message))
}
