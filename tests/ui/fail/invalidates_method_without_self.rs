use dexter_cache::{cached, invalidates};

struct Client;

impl Client {
    #[cached(ttl = 1, prefix = "get", skip(self))]
    async fn get(&self, id: u64) -> u64 {
        id
    }

    #[invalidates(get(id))]
    async fn set(&self, id: u64) {}
}

fn main() {}
