use dexter_cache::cached;

struct Client;

impl Client {
    #[cached(ttl = 1, prefix = "get", key(self))]
    async fn get(&self, id: u64) -> u64 {
        id
    }
}

fn main() {}
