use dexter_cache::cached;

trait Get {
    #[cached(ttl = 1, prefix = "get", skip(self))]
    fn get(&self);
}

fn main() {}
