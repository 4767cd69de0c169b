//! The line from a process to its judge.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dexter_cache::{Cache, Serving};
use tokio::sync::oneshot;

use crate::wire::{Event, Said, WORK};

/// Two recoveries are further apart.
const GRAIN: Duration = Duration::from_millis(1);

#[derive(Debug, Clone)]
pub(crate) struct Line {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    out: Mutex<Out>,
    phase: AtomicU8,
}

#[derive(Debug)]
struct Out {
    stream: TcpStream,
    waiting: VecDeque<oneshot::Sender<u64>>,
    cache: Cache,
    recovered: Option<Instant>,
    recoveries: u64,
}

impl Line {
    /// Connects, and from then on tells with each event how `cache` stands.
    pub(crate) fn connect(judge: u16, cache: &Cache) -> Self {
        let stream =
            TcpStream::connect((Ipv4Addr::LOCALHOST, judge)).expect("the judge takes a connection");
        stream.set_nodelay(true).expect("a socket of TCP");
        let answers = BufReader::new(stream.try_clone().expect("a socket can be cloned"));
        let out = Out {
            stream,
            waiting: VecDeque::new(),
            cache: cache.clone(),
            recovered: None,
            recoveries: 0,
        };
        let shared = Arc::new(Shared {
            out: Mutex::new(out),
            phase: AtomicU8::new(WORK),
        });
        let line = Self {
            shared: Arc::clone(&shared),
        };
        std::thread::spawn(move || {
            for answer in answers.lines().map_while(Result::ok) {
                let (number, phase) = answer.split_once(' ').expect("two numbers");
                let phase = phase.parse().expect("a number");
                shared.phase.store(phase, Ordering::SeqCst);
                let waiting = shared.out().waiting.pop_front().expect("something asked");
                // Who only told does not wait.
                let _ = waiting.send(number.parse().expect("a number"));
            }
            // Nobody judges any more.
            std::process::exit(0);
        });
        line
    }

    pub(crate) fn phase(&self) -> u8 {
        self.shared.phase.load(Ordering::SeqCst)
    }

    /// Tells, and gives where the answer will come. Events are told in the order of these calls.
    pub(crate) fn tell(&self, event: Event) -> oneshot::Receiver<u64> {
        let (answer, answered) = oneshot::channel();
        let mut out = self.shared.out();
        let said = out.said(event);
        let mut text = serde_json::to_string(&said).expect("plain data");
        text.push('\n');
        out.waiting.push_back(answer);
        if out.stream.write_all(text.as_bytes()).is_err() {
            std::process::exit(0);
        }
        answered
    }

    pub(crate) async fn ask(&self, event: Event) -> u64 {
        self.tell(event).await.expect("the judge answers")
    }

    /// Asks for the number of a call, a load or a removal.
    pub(crate) async fn number(&self, event: Event) -> usize {
        usize::try_from(self.ask(event).await).expect("few things happen")
    }
}

impl Shared {
    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Out {
    fn said(&mut self, event: Event) -> Said {
        let health = self.cache.health();
        let now = Instant::now();
        let recovered = health.recovered.and_then(|ago| now.checked_sub(ago));
        let anew = match (self.recovered, recovered) {
            (Some(before), Some(now)) => now > before + GRAIN,
            (None, now) => now.is_some(),
            (Some(_), None) => false,
        };
        if anew {
            self.recovered = recovered;
            self.recoveries += 1;
        }
        Said {
            event,
            trusts: health.serving == Serving::Backend,
            recoveries: self.recoveries,
            journaled: health.journaled,
        }
    }
}
