use dexter_cache::cached;

#[cached(ttl = 1)]
async fn get(id: u64, seen: Option<&mut u64>) -> u64 {
    if let Some(seen) = seen {
        *seen += 1;
    }
    id
}

fn main() {}
