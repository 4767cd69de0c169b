use dexter_cache::invalidates;

#[invalidates(pattern = "get:*", if = *result > id, always)]
async fn write(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
