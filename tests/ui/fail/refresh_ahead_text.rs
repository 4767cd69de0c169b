use dexter_cache::cached;
#[cached(ttl = "1m", refresh_ahead = "80%", prefix = "a")]
async fn get(id: u64) -> Result<u64, String> {
    Ok(id)
}
fn main() {}
