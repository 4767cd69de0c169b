//! Ports for servers that have to come back on the same one.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener};

/// A port of 127.0.0.1 on which nothing listens now.
///
/// It lies below the range from which Linux takes the ports of outgoing connections (32768 and up): nothing can occupy
/// it by chance while its server is down, and a client cannot connect to itself.
pub(crate) fn free() -> u16 {
    loop {
        let random = RandomState::new().hash_one(std::process::id());
        let port = 15_000 + u16::try_from(random % 17_000).expect("below 17000");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
