use dexter_cache::invalidates;

#[invalidates(pattern = "get:id={id + 1}")]
async fn write(id: u64) -> u64 {
    id
}

fn main() {}
