use dexter_cache::invalidates;

#[invalidates(get(ident))]
async fn write(id: u64) -> u64 {
    id
}

#[dexter_cache::cached(ttl = 1)]
async fn get(id: u64) -> u64 {
    id
}

fn main() {}
