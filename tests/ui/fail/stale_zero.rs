use dexter_cache::cached;
#[cached(ttl = "1m", stale = "0s", prefix = "a")]
async fn get(id: u64) -> Result<u64, String> {
    Ok(id)
}
fn main() {}
