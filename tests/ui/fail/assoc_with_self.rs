use dexter_cache::cached;

struct Client;

impl Client {
    #[cached(assoc, ttl = 1, prefix = "get", skip(self))]
    async fn get(&self, id: u64) -> u64 {
        id
    }
}

fn main() {}
