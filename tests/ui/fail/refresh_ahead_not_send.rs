use std::rc::Rc;

use dexter_cache::cached;

#[cached(ttl = 1, refresh_ahead = 0.8, skip(names))]
async fn get(id: u64, names: Rc<Vec<String>>) -> u64 {
    id + names.len() as u64
}

fn main() {}
