use dexter_cache::invalidates;

#[invalidates(pattern = "get:*", if = id)]
async fn write(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
