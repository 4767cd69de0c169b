use dexter_cache::invalidates;

#[invalidates(always, key = "get:{result}")]
async fn write(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
