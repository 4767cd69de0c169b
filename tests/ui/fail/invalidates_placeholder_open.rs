use dexter_cache::invalidates;

#[invalidates(pattern = "get:id={id")]
async fn write(id: u64) -> u64 {
    id
}

fn main() {}
