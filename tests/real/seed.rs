//! One seed: a server, two or three processes that ask it, and what happens to them.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fastrand::Rng;
use support::{Proxy, RedisServer};

use crate::judge::{Judge, Terms};
use crate::report::{FAULTS, Fault, Totals, Trace};
use crate::wire::{Event, LOOK, Orders, STOP, Said};

/// By when everything has to be well again, once nothing is broken any more.
const RECOVERY: Duration = Duration::from_secs(60);
/// By when all that is late in `tiered` mode has come.
const LATE: Duration = Duration::from_millis(3_100);
pub(crate) const ORDERS: &str = "DEXTER_REAL_ORDERS";

pub(crate) struct Outcome {
    pub(crate) totals: Totals,
    pub(crate) violations: Vec<String>,
    pub(crate) trace: Trace,
}

struct Scene {
    judge: Arc<Judge>,
    server: RedisServer,
    proxies: Vec<Proxy>,
    processes: Vec<Process>,
}

/// This very program, started again; see `main.rs`.
struct Process(Child);

impl Process {
    fn start(orders: &Orders) -> Self {
        let child = Command::new(std::env::current_exe().expect("this program has a name"))
            .args(["--exact", "one_of_the_processes", "--nocapture"])
            .env(ORDERS, serde_json::to_string(orders).expect("plain data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("this program can be started"))
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.0.id().to_string()])
            .status();
        assert!(sent.is_ok_and(|sent| sent.success()), "kill {signal}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn run(seed: u64) -> Outcome {
    let mut rng = Rng::with_seed(seed);
    let tiered = seed % 2 == 1;
    let count = 2 + usize::from(rng.u8(..3) == 0);
    let mut orders = Orders {
        process: 0,
        judge: 0,
        redis: String::new(),
        seed: 0,
        tiered,
        tagged: rng.bool(),
        workers: rng.usize(2..=3),
        pause: [4, 20, 60][rng.usize(..3)],
        slow_loads: rng.bool(),
        budget: [100, 250][rng.usize(..2)],
        fallback_ttl: [200, 1_000][rng.usize(..2)],
        lease_ttl: [500, 2_000][rng.usize(..2)],
        without: std::env::var("DEXTER_WITHOUT").ok(),
    };
    let terms = Terms {
        tiered,
        budget: Duration::from_millis(orders.budget),
        fallback_ttl: Duration::from_millis(orders.fallback_ttl),
    };
    let judge = Arc::new(Judge::new(terms, count));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    orders.judge = listener.local_addr().expect("it is bound").port();
    let server = RedisServer::start();
    let proxies: Vec<_> = (0..count).map(|_| Proxy::start(server.port())).collect();
    let delay = Duration::from_millis([0, 0, 1, 4][rng.usize(..4)]);
    let mut processes = Vec::new();
    for (process, proxy) in proxies.iter().enumerate() {
        proxy.delay(delay);
        orders.process = process;
        orders.redis = proxy.url();
        orders.seed = rng.u64(..);
        processes.push(Process::start(&orders));
    }
    let scene = Scene {
        judge: Arc::clone(&judge),
        server,
        proxies,
        processes,
    };
    let hearers = scene.admit(&listener, count);
    if hearers.len() == count {
        scene.play(&mut rng);
    } else {
        judge.complain("a process does not come".to_owned());
    }
    // Ends the processes, and with them those who hear them.
    drop(scene);
    for hearer in hearers {
        let _ = hearer.join();
    }
    judge.count(|totals| {
        totals.seeds += 1;
        totals.tiered += u64::from(tiered);
    });
    let (totals, violations, trace) = judge.end();
    Outcome {
        totals,
        violations,
        trace,
    }
}

impl Scene {
    /// Waits for the processes, and begins to hear each.
    fn admit(&self, listener: &TcpListener, count: usize) -> Vec<std::thread::JoinHandle<()>> {
        listener.set_nonblocking(true).expect("a socket");
        let end = Instant::now() + RECOVERY;
        let mut hearers = Vec::new();
        while hearers.len() < count && Instant::now() < end {
            let Ok((stream, _)) = listener.accept() else {
                sleep(Duration::from_millis(2));
                continue;
            };
            let judge = Arc::clone(&self.judge);
            hearers.push(std::thread::spawn(move || hear(&judge, stream)));
        }
        hearers
    }

    fn play(&self, rng: &mut Rng) {
        let judge = &self.judge;
        sleep(Duration::from_millis(rng.u64(50..300)));
        for _ in 0..rng.usize(1..=3) {
            let fault = FAULTS[rng.usize(..FAULTS.len())];
            let process = rng.usize(..self.processes.len());
            judge.count(|totals| *totals.faults.entry(fault).or_default() += 1);
            judge.note(&format!("fault: {fault:?} (p{process})"));
            self.strike(fault, process, rng);
            judge.note("fault over");
            sleep(Duration::from_millis(rng.u64(20..300)));
        }
        judge.enter(STOP);
        judge.note("no more calls");
        if !patiently(|| judge.is_well()) {
            judge.complain(format!(
                "not well {RECOVERY:?} after the last fault: {}",
                judge.standing()
            ));
        }
        if rng.u8(..4) > 0 {
            sleep(LATE);
        }
        judge.enter(LOOK);
        judge.note("last looks");
        if !patiently(|| judge.is_done()) {
            judge.complain(format!("a process does not end: {}", judge.standing()));
        }
    }

    fn strike(&self, fault: Fault, process: usize, rng: &mut Rng) {
        let proxy = &self.proxies[process];
        let longest = [60, 400, 1_500][rng.usize(..3)];
        let mut moment = || sleep(Duration::from_millis(rng.u64(10..longest)));
        match fault {
            Fault::KillEmpty => {
                self.server.kill9();
                moment();
                self.server.restart();
            }
            Fault::KillSnapshot => {
                self.server.save();
                moment();
                self.server.kill9();
                moment();
                self.server.restart_with_data();
            }
            Fault::StopServer => {
                self.server.pause();
                moment();
                self.server.resume();
            }
            Fault::StopProcess => {
                self.judge.stopped(process);
                self.processes[process].signal("-STOP");
                moment();
                self.processes[process].signal("-CONT");
                self.judge.goes_on(process);
            }
            Fault::Freeze => {
                proxy.freeze_existing();
                moment();
                proxy.thaw();
            }
            Fault::FreezeAndCut => {
                proxy.freeze_existing();
                moment();
                proxy.cut();
                proxy.thaw();
            }
            Fault::Cut => proxy.cut(),
            Fault::Refuse => {
                proxy.refuse();
                proxy.cut();
                moment();
                proxy.accept_new();
            }
            Fault::Hang => {
                proxy.hang_new();
                proxy.cut();
                moment();
                proxy.accept_new();
            }
            Fault::Demote => {
                // Of a primary that is not there: what it holds stays.
                self.server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
                moment();
                self.server.promote();
            }
            Fault::Full => {
                self.server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
                moment();
                self.server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
            }
        }
    }
}

/// Takes down what one process says until it ends.
fn hear(judge: &Judge, stream: TcpStream) {
    stream.set_nonblocking(false).expect("a socket");
    let _ = stream.set_nodelay(true);
    let mut out = stream.try_clone().expect("a socket can be cloned");
    let mut from = None;
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let said: Said = serde_json::from_str(&line).expect("what a process says");
        if let Event::Hello { process } = said.event {
            from = Some(process);
        }
        let process = from.expect("it says first who it is");
        let number = judge.hear(process, &said);
        if writeln!(out, "{number} {}", judge.phase()).is_err() {
            break;
        }
    }
    let ended_well = from.is_some_and(|process| judge.has_done(process));
    if !ended_well {
        judge.complain(format!("a process ends too early: {from:?}"));
    }
}

fn patiently(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + RECOVERY;
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        sleep(Duration::from_millis(5));
    }
    true
}
