use dexter_cache::cached;

#[cached(ttl = 300u8)]
async fn get(id: u64) -> u64 {
    id
}

fn main() {}
