use dexter_cache::cached;
use serde::{Serialize, de::DeserializeOwned};

struct Repository<T>(T);

impl<T: Clone + Send + Sync + Serialize + DeserializeOwned + 'static> Repository<T> {
    #[cached(ttl = 300, prefix = "get_row", skip(self))]
    async fn get_row(&self, id: u64) -> T {
        let _ = id;
        self.0.clone()
    }
}

fn main() {}
