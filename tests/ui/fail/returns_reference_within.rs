use dexter_cache::cached;

#[cached(ttl = 300)]
async fn get_issue(title: &str) -> Result<Option<&str>, String> {
    Ok(Some(title))
}

fn main() {}
