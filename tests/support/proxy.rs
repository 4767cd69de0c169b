//! A TCP proxy that fails in the ways networks do.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::PATIENCE;
use crate::port::Port;

/// Stands between clients and a server of 127.0.0.1, on a port of its own, and forwards until it is told otherwise.
/// It runs on a thread of its own, so no runtime of a test has to live for it.
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    control: watch::Sender<Control>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

/// What holds for flows: a flow compares its own number with the marks in here.
#[derive(Debug, Clone)]
struct Control {
    /// What becomes of connections that come in.
    entry: Entry,
    /// Flows with a number below this forward nothing.
    frozen_below: usize,
    /// Flows with a number below this are reset.
    cut_below: usize,
    /// How long every piece is held back.
    delay: Duration,
    ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Forward,
    Hang,
    Refuse,
}

#[derive(Debug, Default)]
struct Counts {
    /// Connections accepted so far; also the number of the next flow.
    accepted: AtomicUsize,
    open: AtomicUsize,
    /// Pieces that frozen flows hold back.
    held: AtomicUsize,
}

impl Proxy {
    /// Starts a proxy in front of `upstream`, a port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// If no port can be had.
    pub fn start(upstream: u16) -> Self {
        let port = Port::claim();
        let control = Control {
            entry: Entry::Forward,
            frozen_below: 0,
            cut_below: 0,
            delay: Duration::ZERO,
            ended: false,
        };
        let (control, watched) = watch::channel(control);
        let counts = Arc::new(Counts::default());
        let (ready, listening) = std::sync::mpsc::channel();
        let thread = std::thread::spawn({
            let (counts, port) = (counts.clone(), port.number());
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                runtime.block_on(serve(port, upstream, watched, counts, ready));
            }
        });
        listening.recv().expect("the proxy listens");
        Self {
            port,
            control,
            counts,
            thread: Some(thread),
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Its address as a URL of Redis.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port())
    }

    /// How many connections it has accepted so far.
    pub fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// How many flows are open now, frozen ones included.
    pub fn open(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }

    /// How many pieces frozen flows hold back; the end of a direction counts as one.
    pub fn held(&self) -> usize {
        self.counts.held.load(Ordering::SeqCst)
    }

    /// Flows that exist now forward nothing any more, in neither direction, not even their end; they stay open. New
    /// connections work.
    pub fn freeze_existing(&self) {
        let next = self.accepted();
        self.control
            .send_modify(|control| control.frozen_below = next);
    }

    /// Frozen flows go on with what they held back.
    pub fn thaw(&self) {
        self.control.send_modify(|control| control.frozen_below = 0);
    }

    /// Resets every flow that exists now.
    pub fn cut(&self) {
        let next = self.accepted();
        self.control.send_modify(|control| control.cut_below = next);
    }

    /// Stops listening: new connections are refused.
    pub fn refuse(&self) {
        self.enter(Entry::Refuse);
        crate::wait_until("the proxy refuses", PATIENCE, || {
            std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port())).is_err()
        });
    }

    /// New connections are accepted and never answered.
    pub fn hang_new(&self) {
        self.enter(Entry::Hang);
    }

    /// New connections are forwarded again.
    pub fn accept_new(&self) {
        let refused = self.control.borrow().entry == Entry::Refuse;
        self.enter(Entry::Forward);
        if refused {
            crate::wait_until("the proxy accepts", PATIENCE, || {
                std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port())).is_ok()
            });
        }
    }

    /// Every piece of every flow is held back for `delay`, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.control.send_modify(|control| control.delay = delay);
    }

    fn enter(&self, entry: Entry) {
        self.control.send_modify(|control| control.entry = entry);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.control.send_modify(|control| control.ended = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(
    port: u16,
    upstream: u16,
    mut control: watch::Receiver<Control>,
    counts: Arc<Counts>,
    ready: std::sync::mpsc::Sender<()>,
) {
    let mut listener = Some(listen(port).await);
    let _ = ready.send(());
    let mut hanging = Vec::new();
    loop {
        let entry = {
            let now = control.borrow_and_update();
            if now.ended {
                return;
            }
            now.entry
        };
        if entry == Entry::Refuse {
            listener = None;
            if control.changed().await.is_err() {
                return;
            }
            continue;
        }
        if listener.is_none() {
            listener = Some(listen(port).await);
        }
        let accepted = tokio::select! {
            biased;
            changed = control.changed() => if changed.is_ok() { continue } else { return },
            accepted = listener.as_ref().expect("set above").accept() => accepted,
        };
        let Ok((client, _)) = accepted else { continue };
        let number = counts.accepted.fetch_add(1, Ordering::SeqCst);
        if entry == Entry::Hang {
            hanging.push(client);
        } else {
            let flow = flow(number, client, upstream, control.clone(), counts.clone());
            let counts = counts.clone();
            counts.open.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                flow.await;
                counts.open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    }
}

async fn listen(port: u16) -> TcpListener {
    loop {
        match TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

async fn flow(
    number: usize,
    mut client: TcpStream,
    upstream: u16,
    control: watch::Receiver<Control>,
    counts: Arc<Counts>,
) {
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let both = async {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let _ = tokio::try_join!(
            pump(number, from_client, to_server, control.clone(), &counts),
            pump(number, from_server, to_client, control.clone(), &counts),
        );
    };
    let mut cut = control.clone();
    tokio::select! {
        _ = cut.wait_for(|control| number < control.cut_below) => {
            let _ = client.set_zero_linger();
            let _ = server.set_zero_linger();
        }
        () = both => {}
    }
}

/// Carries one direction to its end. The end itself passes as everything else does: not while the flow is frozen.
async fn pump(
    number: usize,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut control: watch::Receiver<Control>,
    counts: &Counts,
) -> std::io::Result<()> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut piece).await.unwrap_or(0);
        let delay = control.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if number < control.borrow().frozen_below {
            counts.held.fetch_add(1, Ordering::SeqCst);
            let thawed = control
                .wait_for(|control| number >= control.frozen_below)
                .await
                .is_ok();
            counts.held.fetch_sub(1, Ordering::SeqCst);
            if !thawed {
                return Ok(());
            }
        }
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..read]).await?;
    }
}
