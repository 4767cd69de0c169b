use dexter_cache::{cached, invalidates};
#[cached(ttl = "1m", prefix = "a")]
async fn get(id: u64) -> Result<u64, String> {
    Ok(id)
}
#[invalidates(before, always)]
async fn set(id: u64) -> Result<u64, String> {
    Ok(id)
}
fn main() {}
