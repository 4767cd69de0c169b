use dexter_cache::cached;
#[cached(
    ttl = "1m",
    stale = "1h",
    soft_timeout = "5s",
    hard_timeout = "1s",
    prefix = "a"
)]
async fn get(id: u64) -> Result<u64, dexter_cache::Error> {
    Ok(id)
}
fn main() {}
