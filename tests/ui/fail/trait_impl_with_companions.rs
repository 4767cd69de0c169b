use dexter_cache::cached;

trait Issues {
    async fn get_issue(&self, id: u64) -> u64;
}

struct Client;

impl Issues for Client {
    #[cached(ttl = 300, prefix = "get_issue", skip(self))]
    async fn get_issue(&self, id: u64) -> u64 {
        id
    }
}

fn main() {}
