//! What a server was asked, as `MONITOR` tells it.

use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::PATIENCE;
use crate::redis::RedisServer;
use crate::resp::Client;

/// One command that a server has run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Where it came from: `127.0.0.1:54321`, or `lua` when a script sent it.
    pub from: String,
    /// Its words; the first in upper case.
    pub args: Vec<String>,
}

impl Seen {
    /// Its first word, in upper case.
    pub fn name(&self) -> &str {
        self.args.first().map_or("", String::as_str)
    }
}

/// Collects what a server is asked, from when it was made. It has a connection of its own.
#[derive(Debug)]
pub struct Monitor {
    lines: Receiver<String>,
    side: Client,
    stop: std::net::TcpStream,
    thread: Option<JoinHandle<()>>,
}

impl Monitor {
    pub(crate) fn start(server: &RedisServer) -> Self {
        let mut client = server.client();
        client.call(&["MONITOR"]).expect("MONITOR is answered");
        client
            .stream()
            .set_read_timeout(None)
            .expect("a read timeout can be taken off");
        let stop = client.stream().try_clone().expect("a socket can be cloned");
        let (sender, lines) = channel();
        let thread = std::thread::spawn(move || {
            while let Ok(line) = client.line() {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            lines,
            side: server.client(),
            stop,
            thread: Some(thread),
        }
    }

    /// Every command since the start, or since the last call of this.
    ///
    /// # Panics
    ///
    /// If the server does not answer any more.
    pub fn take(&mut self) -> Vec<Seen> {
        static MARK: AtomicU64 = AtomicU64::new(0);
        let mark = format!(
            "mark-{}-{}",
            std::process::id(),
            MARK.fetch_add(1, Ordering::Relaxed)
        );
        self.side.call(&["ECHO", &mark]).expect("ECHO is answered");
        let end = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self
                .lines
                .recv_timeout(left)
                .expect("the monitor reports its own ECHO");
            if line.contains(&mark) {
                return seen;
            }
            seen.extend(parse(&line));
        }
    }

    /// The names of [`take`](Monitor::take)'s commands, in their order.
    pub fn names(&mut self) -> Vec<String> {
        self.take()
            .iter()
            .map(|seen| seen.name().to_owned())
            .collect()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.stop.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads `+1700000000.123456 [0 127.0.0.1:5000] "SET" "k" "a\"b"`.
fn parse(line: &str) -> Option<Seen> {
    let (_, rest) = line.split_once(" [")?;
    let (origin, rest) = rest.split_once("] ")?;
    let from = origin.split_once(' ')?.1.to_owned();
    let mut args = Vec::new();
    let mut chars = rest.chars();
    while let Some(start) = chars.next() {
        if start != '"' {
            continue;
        }
        let mut arg = String::new();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => match chars.next()? {
                    'n' => arg.push('\n'),
                    'r' => arg.push('\r'),
                    't' => arg.push('\t'),
                    'x' => arg.extend(['\\', 'x', chars.next()?, chars.next()?]),
                    other => arg.push(other),
                },
                other => arg.push(other),
            }
        }
        args.push(arg);
    }
    args.first_mut()?.make_ascii_uppercase();
    Some(Seen { from, args })
}
