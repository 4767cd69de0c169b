use dexter_cache::cached;

struct Client(u64);

impl Client {
    #[cached(ttl = 1, prefix = "get", local)]
    async fn get(id: u64) -> u64 {
        Self(id).0
    }
}

fn main() {}
