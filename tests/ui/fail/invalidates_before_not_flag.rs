use dexter_cache::invalidates;

#[invalidates(pattern = "get:*", before = 3)]
async fn write(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
