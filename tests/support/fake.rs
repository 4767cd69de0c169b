//! A server of one's own making, which answers what a test wants, byte for byte and segment for segment.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Speaks RESP3 on a free port of 127.0.0.1 and knows the commands of a client's beginning. What it answers to others
/// a test says.
#[derive(Debug)]
pub struct FakeRedis {
    port: u16,
    counts: Arc<Mutex<HashMap<String, usize>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What to write for a command, in one piece; `None` leaves it to the server.
type Script = dyn Fn(&[Vec<u8>]) -> Option<Vec<u8>> + Send + Sync;

impl FakeRedis {
    /// Starts one that asks `script` first.
    ///
    /// # Panics
    ///
    /// If no port can be had.
    pub fn start(script: impl Fn(&[Vec<u8>]) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener
            .local_addr()
            .expect("a bound listener has an address")
            .port();
        listener
            .set_nonblocking(true)
            .expect("a listener can be made non-blocking");
        let counts = Arc::<Mutex<HashMap<String, usize>>>::default();
        let stop = Arc::new(AtomicBool::new(false));
        let script: Arc<Script> = Arc::new(script);
        let thread = std::thread::spawn({
            let (counts, stop) = (counts.clone(), stop.clone());
            move || accept(&listener, &script, &counts, &stop)
        });
        Self {
            port,
            counts,
            stop,
            thread: Some(thread),
        }
    }

    /// Its address as a URL of Redis.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// How often a command of this name, in upper case, has come.
    pub fn count(&self, name: &str) -> usize {
        lock(&self.counts).get(name).copied().unwrap_or(0)
    }

    /// A reply: these bytes.
    pub fn bulk(bytes: &[u8]) -> Vec<u8> {
        let mut reply = format!("${}\r\n", bytes.len()).into_bytes();
        reply.extend_from_slice(bytes);
        reply.extend_from_slice(b"\r\n");
        reply
    }

    /// The message that `key` has changed.
    pub fn changed(key: &[u8]) -> Vec<u8> {
        let mut push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n".to_vec();
        push.extend(Self::bulk(key));
        push
    }
}

impl Drop for FakeRedis {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(
    listener: &TcpListener,
    script: &Arc<Script>,
    counts: &Arc<Mutex<HashMap<String, usize>>>,
    stop: &Arc<AtomicBool>,
) {
    let mut served = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, _)) => {
                let (script, counts, stop) = (script.clone(), counts.clone(), stop.clone());
                served.push(std::thread::spawn(move || {
                    // Ends with the connection, whatever ends that.
                    let _ = serve(stream, &*script, &counts, &stop);
                }));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(_) => break,
        }
    }
    for thread in served {
        let _ = thread.join();
    }
}

fn serve(
    stream: TcpStream,
    script: &Script,
    counts: &Mutex<HashMap<String, usize>>,
    stop: &AtomicBool,
) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    let mut reader = BufReader::new(stream);
    loop {
        // Between commands it may be told to stop; within one the rest comes at once.
        match reader.fill_buf() {
            Ok([]) => return Ok(()),
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                if stop.load(Ordering::SeqCst) {
                    return Ok(());
                }
                continue;
            }
            Err(error) => return Err(error),
        }
        reader
            .get_ref()
            .set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut command = Vec::new();
        for _ in 0..number(&mut reader)? {
            let mut word = vec![0; number(&mut reader)? + 2];
            reader.read_exact(&mut word)?;
            word.truncate(word.len() - 2);
            command.push(word);
        }
        reader
            .get_ref()
            .set_read_timeout(Some(Duration::from_millis(20)))?;
        if let Some(name) = command.first_mut() {
            name.make_ascii_uppercase();
            let name = String::from_utf8_lossy(name).into_owned();
            *lock(counts).entry(name).or_default() += 1;
        }
        let reply = script(&command).unwrap_or_else(|| usual(&command));
        reader.get_mut().write_all(&reply)?;
    }
}

/// The number behind the first byte of a line.
fn number(reader: &mut BufReader<TcpStream>) -> io::Result<usize> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    line.get(1..)
        .and_then(|digits| digits.trim_end().parse().ok())
        .ok_or_else(|| io::Error::other(format!("not a command: {line}")))
}

fn usual(command: &[Vec<u8>]) -> Vec<u8> {
    let words: Vec<String> = command
        .iter()
        .map(|word| String::from_utf8_lossy(word).to_ascii_uppercase())
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let reply = match *words.as_slice() {
        ["HELLO", ..] => "%2\r\n$5\r\nproto\r\n:3\r\n$4\r\nrole\r\n$6\r\nmaster\r\n".to_owned(),
        ["PING"] => "+PONG\r\n".to_owned(),
        ["TIME"] => time(),
        ["INFO", ..] => {
            let info = "run_id:fake\r\nuptime_in_seconds:100\r\n";
            format!("${}\r\n{info}\r\n", info.len())
        }
        ["CLIENT", "ID"] => ":1\r\n".to_owned(),
        ["CLIENT", "INFO"] => "$9\r\nid=1 addr\r\n".to_owned(),
        ["CLIENT", "KILL", ..] | ["UNLINK", ..] => ":0\r\n".to_owned(),
        ["CLIENT" | "SET" | "SELECT", ..] => "+OK\r\n".to_owned(),
        ["GET", ..] => "_\r\n".to_owned(),
        _ => "-ERR unknown command\r\n".to_owned(),
    };
    reply.into_bytes()
}

fn time() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let (seconds, micros) = (now.as_secs().to_string(), now.subsec_micros().to_string());
    format!(
        "*2\r\n${}\r\n{seconds}\r\n${}\r\n{micros}\r\n",
        seconds.len(),
        micros.len()
    )
}
