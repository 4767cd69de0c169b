use dexter_cache::cached;

struct Opaque;

#[cached(ttl = 1, key(opaque = Opaque))]
async fn get(id: u64) -> u64 {
    id
}

fn main() {}
