use dexter_cache::cached;

#[allow(non_camel_case_types)]
struct get {}

#[cached(ttl = 1)]
async fn get(id: u64) -> u64 {
    id
}

fn main() {}
