use dexter_cache::cached;

#[cached(ttl = 1)]
async fn get(whole @ (_a, _b): (u64, u64)) -> u64 {
    whole.0
}

fn main() {}
