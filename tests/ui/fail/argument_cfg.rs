use dexter_cache::cached;

#[cached(ttl = 1)]
async fn get(id: u64, #[cfg(windows)] drive: char) -> u64 {
    id
}

fn main() {}
