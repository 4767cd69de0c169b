use dexter_cache::cached;

#[cached(ttl = 1)]
async fn get<const N: usize>(id: u64) -> [u64; 2] {
    [id; 2]
}

fn main() {}
