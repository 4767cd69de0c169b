use dexter_cache::cached;

#[cached(ttl = 1, hard_timeout = "1s")]
async fn get(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
