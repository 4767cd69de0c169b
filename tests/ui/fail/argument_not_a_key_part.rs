use dexter_cache::cached;

struct Pool(u64);

#[cached(ttl = 1)]
async fn get(pool: Pool) -> u64 {
    pool.0
}

fn main() {}
