//! A real `redis-server`, started for one test.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::monitor::Monitor;
use crate::port::Port;
use crate::resp::{Client, Reply};
use crate::{PATIENCE, wait_until};

/// A `redis-server` on a port of 127.0.0.1 and in a directory of its own, which writes nothing to disk by itself.
/// Dropping the handle kills it.
///
/// The program is the one in the `PATH`, or the one that the variable `REDIS_SERVER` names.
#[derive(Debug)]
pub struct RedisServer {
    port: Port,
    args: Vec<String>,
    password: Option<String>,
    dir: TempDir,
    child: Mutex<Option<Child>>,
}

impl RedisServer {
    /// Starts an empty server and waits until it answers.
    ///
    /// # Panics
    ///
    /// If there is no `redis-server` on this machine, or if it does not start.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`start`](RedisServer::start), with more arguments: `&["--maxmemory", "2mb"]`. They stay for every restart.
    pub fn start_with(args: &[&str]) -> Self {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let password = args
            .iter()
            .position(|arg| arg == "--requirepass")
            .map(|at| args[at + 1].clone());
        let dir = TempDir::new().expect("a temporary directory");
        let mut last = String::new();
        for _ in 0..10 {
            let port = Port::claim();
            match launch(
                port.number(),
                dir.path(),
                &args,
                password.as_deref(),
                is_ready,
            ) {
                Ok(child) => {
                    return Self {
                        port,
                        args,
                        password,
                        dir,
                        child: Mutex::new(Some(child)),
                    };
                }
                Err(log) => last = log,
            }
        }
        panic!("redis-server did not start on any of ten ports; the last one said:\n{last}");
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Its address, with the password of `--requirepass` if it was started with one.
    pub fn url(&self) -> String {
        let auth = self
            .password
            .as_ref()
            .map(|password| format!(":{password}@"))
            .unwrap_or_default();
        format!("redis://{auth}127.0.0.1:{}/0", self.port())
    }

    /// Its process id.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn pid(&self) -> u32 {
        self.child().as_ref().expect("the server runs").id()
    }

    /// A connection for raw commands, logged in.
    ///
    /// # Panics
    ///
    /// If the server does not take it.
    pub fn client(&self) -> Client {
        connect(self.port(), self.password.as_deref()).expect("the server takes a connection")
    }

    /// Runs one command on a connection of its own; the answer as `redis-cli` prints it to a pipe.
    ///
    /// # Panics
    ///
    /// If the server does not answer. An error that it answers is returned as text.
    pub fn cli(&self, args: &[&str]) -> String {
        self.call(args).to_string()
    }

    /// As [`cli`](RedisServer::cli), with bytes as arguments and the answer as it came.
    pub fn call<A: AsRef<[u8]>>(&self, args: &[A]) -> Reply {
        self.client().call(args).expect("the server answers")
    }

    /// Begins to collect what the server is asked.
    pub fn monitor(&self) -> Monitor {
        Monitor::start(self)
    }

    /// Kills it as a crash would (SIGKILL). Does nothing if it does not run.
    pub fn kill9(&self) {
        if let Some(mut child) = self.child().take() {
            child.kill().expect("an own child can be killed");
            child.wait().expect("an own child can be waited for");
        }
    }

    /// Stops it from running without ending it (SIGSTOP): connections stay, nothing is answered.
    pub fn pause(&self) {
        self.signal("-STOP");
        wait_until("the server is stopped", PATIENCE, || is_stopped(self.pid()));
    }

    /// Lets it run again after [`pause`](RedisServer::pause).
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Comes back on the same port, empty, after killing what may still run there.
    pub fn restart(&self) {
        self.kill9();
        let _ = std::fs::remove_file(self.dir.path().join("dump.rdb"));
        self.launch_again(&[], is_ready);
    }

    /// Writes a snapshot that a later [`restart_with_data`](RedisServer::restart_with_data) comes back with.
    pub fn save(&self) {
        assert_eq!(self.cli(&["SAVE"]), "OK", "the snapshot is written");
    }

    /// Comes back on the same port with what the last [`save`](RedisServer::save) wrote.
    pub fn restart_with_data(&self) {
        self.kill9();
        self.launch_again(&[], is_ready);
    }

    /// Shuts down in order, data saved, and comes back with all of it.
    pub fn shutdown_and_restart(&self) {
        self.save();
        self.restart_with_data();
    }

    /// Adds `keys` keys named `loading:<n>` and writes a snapshot: enough for
    /// [`restart_loading`](RedisServer::restart_loading).
    pub fn save_much(&self, keys: u32) {
        let mut client = self.client();
        for key in 0..keys {
            let key = format!("loading:{key}");
            client
                .send(&[
                    "SET",
                    &key,
                    "a value that is long enough to keep the loader reading",
                ])
                .expect("SET is sent");
        }
        for _ in 0..keys {
            client.receive().expect("SET is answered");
        }
        self.save();
    }

    /// Comes back with what the last snapshot holds, and answers `LOADING` until
    /// [`finish_loading`](RedisServer::finish_loading), or for 10 ms a key.
    pub fn restart_loading(&self) {
        self.kill9();
        // Without the second option a server looks at its clients only every 2 MB of the file.
        let args = [
            "--key-load-delay",
            "10000",
            "--loading-process-events-interval-bytes",
            "1024",
        ];
        self.launch_again(
            &args,
            |reply| matches!(reply, Reply::Error(text) if text.starts_with("LOADING")),
        );
    }

    /// Loads the rest of its data without a delay, and waits until it is ready.
    pub fn finish_loading(&self) {
        assert_eq!(self.cli(&["CONFIG", "SET", "key-load-delay", "0"]), "OK");
        self.wait_ready();
    }

    /// Waits until it answers `PONG`.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub fn wait_ready(&self) {
        wait_until("the server is ready", PATIENCE, || {
            connect(self.port(), self.password.as_deref())
                .and_then(|mut client| client.call(&["PING"]))
                .is_ok_and(|reply| is_ready(&reply))
        });
    }

    /// Becomes a replica of `primary`, and waits until it is one.
    pub fn replica_of(&self, primary: &RedisServer) {
        if let Some(password) = &primary.password {
            self.cli(&["CONFIG", "SET", "masterauth", password]);
        }
        assert_eq!(
            self.cli(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]),
            "OK"
        );
        wait_until("the replica is linked", PATIENCE, || {
            self.cli(&["INFO", "replication"])
                .contains("master_link_status:up")
        });
    }

    /// Becomes a primary.
    pub fn promote(&self) {
        assert_eq!(self.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.pid().to_string()])
            .status()
            .expect("`kill` can be run");
        assert!(sent.success(), "kill {signal} failed");
    }

    fn launch_again(&self, more: &[&str], ready: fn(&Reply) -> bool) {
        let mut args = self.args.clone();
        args.extend(more.iter().map(|&arg| arg.to_owned()));
        let child = launch(
            self.port(),
            self.dir.path(),
            &args,
            self.password.as_deref(),
            ready,
        )
        .unwrap_or_else(|log| {
            panic!(
                "redis-server did not come back on port {}:\n{log}",
                self.port()
            )
        });
        *self.child() = Some(child);
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // SIGKILL ends a stopped process too.
        if let Some(mut child) = self.child().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts a server and waits until it is the one that answers on `port`; otherwise what it logged.
fn launch(
    port: u16,
    dir: &Path,
    args: &[String],
    password: Option<&str>,
    ready: fn(&Reply) -> bool,
) -> Result<Child, String> {
    let program = std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
    let log_path = dir.join("log");
    let log = File::create(&log_path).expect("the log can be created");
    let mut child = Command::new(&program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
        .arg(dir)
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--repl-diskless-sync-delay", "0"])
        .args(args)
        .stdin(Stdio::null())
        .stderr(log.try_clone().expect("a file can be cloned"))
        .stdout(log)
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "these tests need a Redis server, and `{}` could not be run ({error}): install it with \
                 `apt-get install redis-server` or `brew install redis`, or name one in REDIS_SERVER",
                program.display()
            )
        });
    let end = Instant::now() + PATIENCE;
    loop {
        // Another test's server may hold the port: only the one with the child's process id counts.
        if answers(port, password, child.id(), ready) {
            return Ok(child);
        }
        let ended = child
            .try_wait()
            .expect("an own child can be asked")
            .is_some();
        if ended || Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            return Err(std::fs::read_to_string(&log_path).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn answers(port: u16, password: Option<&str>, pid: u32, ready: fn(&Reply) -> bool) -> bool {
    let Ok(mut client) = connect(port, password) else {
        return false;
    };
    let Ok(info) = client.call(&["INFO", "server"]) else {
        return false;
    };
    info.to_string()
        .lines()
        .any(|line| line == format!("process_id:{pid}"))
        && client.call(&["PING"]).is_ok_and(|reply| ready(&reply))
}

fn connect(port: u16, password: Option<&str>) -> std::io::Result<Client> {
    let mut client = Client::connect(port)?;
    if let Some(password) = password {
        client.call(&["AUTH", password])?;
    }
    Ok(client)
}

fn is_ready(reply: &Reply) -> bool {
    *reply == Reply::Status("PONG".to_owned())
}

/// Whether the kernel shows the process as stopped. Where there is no `/proc`, the signal is trusted.
fn is_stopped(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('T'))
    })
}
