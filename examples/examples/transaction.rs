//! Removals within a database transaction wait for its end: sent with the commit, dropped with a rollback.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use dexter_cache::{Cache, cached, invalidates};

type Accounts = BTreeMap<&'static str, i64>;

/// The origin: what is committed.
static ACCOUNTS: LazyLock<Mutex<Accounts>> =
    LazyLock::new(|| Mutex::new(Accounts::from([("alice", 100), ("bob", 0)])));

/// A transaction: its own view, which others see from the commit on.
struct Transaction(Accounts);

impl Transaction {
    fn begin() -> Self {
        Self(ACCOUNTS.lock().unwrap().clone())
    }

    fn commit(self) {
        *ACCOUNTS.lock().unwrap() = self.0;
    }
}

#[cached(ttl = "1m", prefix = "balance")]
async fn balance(name: &str) -> Result<i64, String> {
    let accounts = ACCOUNTS.lock().unwrap();
    accounts
        .get(name)
        .copied()
        .ok_or_else(|| format!("there is no account {name}"))
}

#[cached(ttl = "1m", prefix = "statement")]
async fn statement(name: &str, page: u32) -> Result<String, String> {
    Ok(format!(
        "page {page} of {name}: {}",
        ACCOUNTS.lock().unwrap()[name]
    ))
}

/// Both the balance and all pages of the statement follow from the account: `matching()` names the pages.
#[invalidates(balance(name), statement::matching().name(name))]
async fn add(tx: &mut Transaction, name: &'static str, amount: i64) -> Result<(), String> {
    let account = tx.0.entry(name).or_default();
    *account += amount;
    if *account < 0 {
        return Err(format!("{name} has not got that much"));
    }
    Ok(())
}

async fn transfer(cache: &Cache, amount: i64) -> Result<(), String> {
    let transaction = async {
        let mut tx = Transaction::begin();
        add(&mut tx, "bob", amount).await?;
        // Nothing is committed. Whoever asks now loads the old row, which is the true one, and does not store it.
        println!("  meanwhile, bob has {}", balance("bob").await?);
        add(&mut tx, "alice", -amount).await?;
        tx.commit();
        Ok(())
    };
    cache.deferred(transaction).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = Cache::memory();
    cache.install()?;

    for amount in [30, 500] {
        println!(
            "before: alice {}, bob {}",
            balance("alice").await?,
            balance("bob").await?
        );
        println!("  {}", statement("bob", 1).await?);
        match transfer(&cache, amount).await {
            Ok(()) => println!("  {amount} transferred"),
            Err(error) => println!("  rolled back: {error}"),
        }
        println!(
            "after:  alice {}, bob {}",
            balance("alice").await?,
            balance("bob").await?
        );
        println!("  {}", statement("bob", 1).await?);
    }
    assert_eq!(balance("bob").await?, 30);
    Ok(())
}
