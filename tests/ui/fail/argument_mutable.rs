use dexter_cache::cached;

#[cached(ttl = 1)]
async fn get(id: u64, seen: &mut u64) -> u64 {
    *seen += 1;
    id
}

fn main() {}
