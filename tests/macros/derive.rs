//! What `#[derive(CacheKey)]` writes.

use dexter_cache::{CacheKey, Key};

#[derive(CacheKey)]
struct Filter<'a, T> {
    status: Option<&'a str>,
    page: T,
    #[cache_key(rename = "order")]
    r#type: Order,
    #[cache_key(skip)]
    _trace: std::cell::Cell<u8>,
    #[cache_key(flatten)]
    range: Range,
}

#[derive(CacheKey)]
struct Range {
    from: u64,
    until: Option<u64>,
}

#[derive(CacheKey)]
#[cache_key(rename_all = "kebab-case")]
enum Order {
    NewestFirst,
    #[cache_key(rename = "by")]
    By(#[cache_key(rename = "column")] String, bool),
    Custom {
        first_name: u8,
        #[cache_key(skip)]
        _other: u8,
    },
}

#[derive(CacheKey)]
struct Id(u64);

#[derive(CacheKey)]
struct Pair(u64, String);

#[derive(CacheKey)]
struct Unit;

#[derive(CacheKey)]
#[cache_key(rename_all = "camelCase", crate = dexter_cache)]
struct Cased<const N: usize, T>
where
    T: Clone,
{
    first_name: [T; N],
}

fn text(value: &impl CacheKey) -> String {
    Key::new("p").part("v", value).to_string()
}

#[test]
fn structs_are_their_fields() {
    let filter = Filter {
        status: Some("open"),
        page: 2_u8,
        r#type: Order::NewestFirst,
        _trace: std::cell::Cell::new(0),
        range: Range {
            from: 1,
            until: None,
        },
    };
    assert_eq!(
        text(&filter),
        "p:v.from=1&v.order=newest-first&v.page=2&v.status=open"
    );
    assert_eq!(text(&Id(7)), "p:v=7");
    assert_eq!(text(&Pair(7, "x".into())), "p:v.0=7&v.1=x");
    assert_eq!(text(&Unit), "p");
    assert_eq!(text(&Cased { first_name: [1, 2] }), "p:v.firstName=1,2");
}

#[test]
fn variants_are_their_names_and_fields() {
    assert_eq!(
        text(&Order::By("name".into(), true)),
        "p:v=by&v.1=true&v.column=name"
    );
    assert_eq!(
        text(&Order::Custom {
            first_name: 1,
            _other: 2
        }),
        "p:v=custom&v.first_name=1"
    );
}

#[test]
fn elements_are_told_apart() {
    let one = text(&vec![Order::By("a".into(), true), Order::NewestFirst]);
    let other = text(&vec![Order::By("a,newest-first".into(), true)]);
    assert_ne!(one, other);
    assert_eq!(one, "p:v=by%261%3Dtrue%26column%3Da,newest-first");
}

/// Shows nothing of itself, as secrets do.
#[derive(CacheKey)]
struct Account(u64);

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Account(***)")
    }
}

#[test]
fn scar_values_that_look_alike_in_debug_give_keys_of_their_own() {
    let [one, two] = [Account(1), Account(2)];
    assert_eq!(format!("{one:?}"), format!("{two:?}"));
    let key = |account: &Account| Key::new("balance").part("account", account);
    assert_ne!(key(&one), key(&two));
}
