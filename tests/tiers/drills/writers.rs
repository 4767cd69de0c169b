//! Those who change rows and remove what is cached of them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use dexter_cache::KeyPattern;
use tokio::time::{sleep, timeout};

use super::harness::{Clears, Team};
use super::world::{Row, random};
use crate::{BOUND, MINUTE};

impl Team {
    pub(super) async fn write(&self) {
        while self.goes_on() {
            // One in ten writers is dropped on the way: what it has promised nobody then knows.
            let patience = if random(10) == 0 {
                Duration::from_micros(random(2_000).into())
            } else {
                BOUND
            };
            let work = async {
                match random(100) {
                    0..=49 => self.remove(self.world.any()).await,
                    50..=84 => self.set(self.world.any()).await,
                    // Rows 10 to 15.
                    85..=98 => self.sweep("invalidate", &self.world.0[10..], false).await,
                    _ if self.clears == Clears::Some => {
                        self.sweep("clear", &self.world.0, true).await;
                    }
                    _ => {}
                }
            };
            if timeout(patience, work).await.is_err() && patience == BOUND {
                self.report.complain("a write hangs".to_owned());
            }
            self.report.writes.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(u64::from(10 + random(20)))).await;
        }
    }

    async fn remove(&self, row: &Row) {
        let _order = row.order.read().await;
        let version = row.bump();
        let removed = self.report.time(self.cache.remove(&row.key)).await;
        match removed {
            Ok(_) => row.removed_at(version),
            Err(error) => self.report.complain(format!("remove: {error}")),
        }
    }

    async fn set(&self, row: &Row) {
        let _order = row.order.write().await;
        let version = row.bump();
        let value = (row.id, version);
        let setting = self.cache.set(&row.key, &value, MINUTE);
        let set = self.report.time(setting).await;
        match set {
            Ok(()) => row.removed_at(version),
            Err(error) => self.report.complain(format!("set: {error}")),
        }
    }

    async fn sweep(&self, what: &str, rows: &[Row], everything: bool) {
        let mut orders = Vec::new();
        for row in rows {
            orders.push(row.order.read().await);
        }
        let versions: Vec<u64> = rows.iter().map(Row::bump).collect();
        let swept = if everything {
            self.report.time(self.cache.clear()).await
        } else {
            let pattern = KeyPattern::new("drill:row=1[0-9]");
            self.report.time(self.cache.invalidate(&pattern)).await
        };
        match swept {
            Ok(_) => rows
                .iter()
                .zip(versions)
                .for_each(|(row, version)| row.removed_at(version)),
            Err(error) => self.report.complain(format!("{what}: {error}")),
        }
    }
}
