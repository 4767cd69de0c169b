use dexter_cache::invalidates;

#[invalidates(key = "get:{result}", before)]
async fn write(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
