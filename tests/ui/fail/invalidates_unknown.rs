use dexter_cache::invalidates;

#[invalidates(patern = "get:*")]
async fn write(id: u64) -> u64 {
    id
}

fn main() {}
