use dexter_cache::cached;

#[cached(ttl = 1, none_ttl = "10s")]
async fn get(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
