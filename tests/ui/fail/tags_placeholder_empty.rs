use dexter_cache::cached;
#[cached(ttl = "1m", prefix = "a", tags = ["issue:{}"])]
async fn get(id: u64) -> Result<u64, String> {
    Ok(id)
}
fn main() {}
