//! The socket under a connection: TCP with its options set, or a Unix socket.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::config::{Address, RedisConfig};
use super::error;
use crate::error::Error;

/// A peer that vanished without a word is noticed by the kernel within about this time.
const DEAD_PEER: Duration = Duration::from_secs(5);

/// What bytes go over.
pub(super) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

pub(super) async fn connect(config: &RedisConfig) -> Result<Stream, Error> {
    match &config.address {
        Address::Tcp { host, port } => connect_tcp(config, host, *port).await.map(Stream::Tcp),
        #[cfg(unix)]
        Address::Unix(path) => match tokio::net::UnixStream::connect(path).await {
            Ok(stream) => Ok(Stream::Unix(stream)),
            Err(failed) => Err(error::from_io(config, &failed)),
        },
        #[cfg(not(unix))]
        Address::Unix(_) => Err(Error::new(
            ErrorKind::Config,
            "there are no Unix sockets on this system",
        )),
    }
}

/// Tries the addresses of a name in turn; one that does not answer leaves time for the others.
async fn connect_tcp(config: &RedisConfig, host: &str, port: u16) -> Result<TcpStream, Error> {
    let begun = Instant::now();
    let found = tokio::net::lookup_host((host, port))
        .await
        .map_err(|failed| error::from_io(config, &failed))?;
    let addresses: Vec<_> = found.collect();
    let mut last = error::unavailable(config, "the name has no address");
    for (index, address) in addresses.iter().enumerate() {
        let others = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = config.connect_timeout.saturating_sub(begun.elapsed()) / others;
        last = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => match tune(&stream) {
                Ok(()) => return Ok(stream),
                Err(failed) => error::from_io(config, &failed),
            },
            Ok(Err(failed)) => error::from_io(config, &failed),
            Err(_) => error::timeout(config, "while connecting"),
        };
    }
    Err(last)
}

fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(DEAD_PEER)
            .with_interval(Duration::from_secs(1))
            .with_retries(3),
    )?;
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    socket.set_tcp_user_timeout(Some(DEAD_PEER))?;
    Ok(())
}
