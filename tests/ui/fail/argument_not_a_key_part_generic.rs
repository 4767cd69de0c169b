use dexter_cache::cached;

struct Pool(u64);

#[cached(ttl = 1)]
async fn get(pools: &[Pool]) -> u64 {
    pools.iter().map(|pool| pool.0).sum()
}

fn main() {}
