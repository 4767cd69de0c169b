//! Ports for servers that have to come back on the same one.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// A port of 127.0.0.1 that belongs to its holder, also while nothing listens on it.
///
/// It lies below the range from which Linux takes the ports of outgoing connections (32768 and up): nothing can occupy
/// it by chance while its server is down, and a client cannot connect to itself. Other tests, in this process or in
/// others, cannot take it either: whoever wants a port binds it for UDP first, which no server here uses.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _claim: UdpSocket,
}

impl Port {
    pub(crate) fn claim() -> Self {
        loop {
            let random = RandomState::new().hash_one(std::process::id());
            let number = 15_000 + u16::try_from(random % 17_000).expect("below 17000");
            let Ok(claim) = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)) else {
                continue;
            };
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Self {
                    number,
                    _claim: claim,
                };
            }
        }
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}
