//! A service as one would run it: axum in front, a database file (`SQLite`) as the slow origin, Redis as the cache, and
//! this process's memory when Redis is away.
//!
//! ```text
//! cargo run -p examples --example issues_api
//! curl -i 'http://127.0.0.1:8080/api/v1/issues?organization=myorg&project=myproject&status=unresolved'
//! ```
//!
//! Run the second line twice: `X-Cache: MISS`, then `X-Cache: HIT`. What else to try stands in `examples/README.md`.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `PORT` | port on 127.0.0.1 | `8080` |
//! | `REDIS_URL` | the shared cache; `memory`, or empty, for none | `redis://localhost:6379/0` |
//! | `DEXTER_CACHE` | `off` runs without a cache | on |
//! | `ISSUES_DB` | path of the database, made if it is not there | a file in the temporary directory |

#![expect(
    unreachable_pub,
    reason = "written as the modules of a library would be, to be copied"
)]

mod analytics;
mod db;
mod error;
mod issues;
mod model;
mod routes;

use std::env;
use std::error::Error;
use std::io::IsTerminal;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use dexter_cache::Cache;
use tokio::net::TcpListener;

use crate::db::Db;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_ansi(std::io::stdout().is_terminal())
        .init();

    let port: u16 = match env::var("PORT") {
        Ok(port) => port
            .parse()
            .map_err(|_| format!("PORT is no port number: {port:?}"))?,
        Err(_) => 8080,
    };
    let path = env::var_os("ISSUES_DB").map_or_else(
        || env::temp_dir().join("dexter-cache-issues.sqlite3"),
        PathBuf::from,
    );
    let db = Db::open(path).await?;

    // Reads REDIS_URL. A Redis that is away is no error: the cache starts in memory and connects when it can.
    let cache = Cache::from_env().await?;
    cache.install()?;

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, routes::router(db, cache.clone()))
        .with_graceful_shutdown(stop_signal())
        .await?;

    // Waits, for a bounded time, until what the last requests stored and invalidated has reached Redis.
    cache.close().await;
    Ok(())
}

/// Ends with Ctrl-C, and with the SIGTERM that a container gets.
async fn stop_signal() {
    let interrupt = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::warn!(%error, "cannot listen for Ctrl-C");
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot listen for SIGTERM");
                std::future::pending::<()>().await;
            }
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();

    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
    tracing::info!("stopping");
}
