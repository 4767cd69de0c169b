//! The examples of the design, and what has to differ.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use super::*;

/// The value of a part, as it stands in a key; `None` where the part was left out.
fn part(value: &(impl CacheKey + ?Sized)) -> Option<String> {
    let mut builder = KeyBuilder::new("p");
    builder.part("v", value);
    let key = builder.finish();
    key.as_str()
        .strip_prefix("p:v=")
        .map(str::to_owned)
        .or_else(|| {
            assert_eq!(key.as_str(), "p");
            None
        })
}

fn text(value: &(impl CacheKey + ?Sized)) -> String {
    part(value).expect("the part is there")
}

struct Filter<'a> {
    status: Option<&'a str>,
    tags: Vec<&'a str>,
}

impl CacheKey for Filter<'_> {
    fn write_key(&self, out: &mut KeyWriter<'_>) {
        out.field("status", &self.status);
        out.field("tags", &self.tags);
    }
}

struct Search<'a> {
    filter: Filter<'a>,
    query: &'a str,
}

impl CacheKey for Search<'_> {
    fn write_key(&self, out: &mut KeyWriter<'_>) {
        out.field("filter", &self.filter);
        out.field("query", self.query);
    }
}

struct Flat<'a>(Filter<'a>);

impl CacheKey for Flat<'_> {
    fn write_key(&self, out: &mut KeyWriter<'_>) {
        out.flatten(&self.0);
    }
}

struct Nothing;

impl CacheKey for Nothing {
    fn write_key(&self, _: &mut KeyWriter<'_>) {}
}

fn filter<'a>(status: Option<&'a str>, tags: &[&'a str]) -> Filter<'a> {
    Filter {
        status,
        tags: tags.to_vec(),
    }
}

#[test]
fn keys_read_as_promised() {
    let mut key = KeyBuilder::new("list_issues");
    key.part("organization", "myorg");
    key.part("project", "myproject");
    key.part("status", &Some("unresolved"));
    assert_eq!(
        key.finish().as_str(),
        "list_issues:organization=myorg&project=myproject&status=unresolved"
    );

    let key = Key::new("get_issue")
        .part("path", "/api/v1/issues/123")
        .part("query", "");
    assert_eq!(key.as_str(), "get_issue:path=/api/v1/issues/123&query=");
    assert_eq!(key.to_string(), key.as_str());
    assert_eq!(
        format!("{key:?}"),
        "Key(\"get_issue:path=/api/v1/issues/123&query=\")"
    );

    assert_eq!(Key::new("me").part("a", &None::<u8>), Key::from("me"));
    assert_eq!(Key::raw("session:1").as_str(), "session:1");
    assert_eq!(Key::raw("session:1").prefix(), "session");
    assert_eq!(Key::new("a:b c").as_str(), "a%3Ab%20c");
}

#[test]
fn the_order_of_parts_does_not_matter() {
    let mut key = KeyBuilder::new("p");
    for name in ["b", "a.x", "a", "ab", "A", "c"] {
        key.part(name, name);
    }
    assert_eq!(key.finish().as_str(), "p:A=A&a=a&a.x=a.x&ab=ab&b=b&c=c");
    let key = Key::new("p").part("b", "2").part("a", "1").part("c", "3");
    assert_eq!(
        key,
        Key::new("p").part("c", "3").part("b", "2").part("a", "1")
    );
    assert_eq!(key.hash(), Key::raw("p:a=1&b=2&c=3").hash());
}

#[test]
fn two_parts_of_one_name_stay_in_order() {
    let mut key = KeyBuilder::new("p");
    key.part("b", "0");
    key.part("a", "2");
    key.part("a", "1");
    assert_eq!(key.finish().as_str(), "p:a=2&a=1&b=0");
}

#[test]
fn scalars() {
    assert_eq!(text(&0_u8), "0");
    assert_eq!(text(&u64::MAX), u64::MAX.to_string());
    assert_eq!(text(&i64::MIN), i64::MIN.to_string());
    assert_eq!(text(&-7_i8), "-7");
    assert_eq!(text(&u128::MAX), u128::MAX.to_string());
    assert_eq!(text(&1.0_f64), "1.0");
    assert_eq!(text(&0.1_f32), "0.1");
    assert_eq!(text(&-0.0_f64), "0.0");
    assert_eq!(text(&f64::NAN), "NaN");
    assert_eq!(text(&-f64::NAN), "NaN");
    assert_eq!(text(&f64::NEG_INFINITY), "-inf");
    assert_eq!(text(&true), "true");
    assert_eq!(text(&'*'), "%2A");
    assert_eq!(text(&Duration::from_millis(1500)), "1.5s");
    assert_eq!(text(&Duration::new(0, 1)), "0.000000001s");
    assert_eq!(text(&Duration::new(3, 20)), "3.00000002s");
    assert_eq!(text(&Duration::from_secs(60)), "60s");
    assert_eq!(text(&Ipv4Addr::LOCALHOST), "127.0.0.1");
    assert_eq!(
        text(&"[::1]:80".parse::<SocketAddr>().unwrap()),
        "%5B::1%5D:80"
    );
    let flow = SocketAddrV6::new([1, 2, 3, 4, 5, 6, 7, 8].into(), 80, 9, 0);
    assert_eq!(text(&flow), "%5B1:2:3:4:5:6:7:8%5D:80/9");
    assert_eq!(part(&()), None);
}

#[test]
fn absence_and_emptiness() {
    assert_eq!(part(&None::<&str>), None);
    assert_eq!(text(&Some("")), "");
    assert_eq!(text(&Some("None")), "None");
    assert_eq!(text(&Some(None::<&str>)), "%-");
    assert_eq!(text(&Some(Some(None::<&str>))), "%-%-");
    assert_eq!(text(&"%-"), "%25-");
    assert_eq!(text(&Some(())), "%+");
    assert_eq!(text(&Some(Some(()))), "%+");
    assert_eq!(text(&Vec::<u8>::new()), "%.");
    assert_eq!(text(&[""]), "");
    assert_eq!(text(&[Some(""), None]), ",%-");
    assert_eq!(text(&[Some(Some(Nothing)), Some(None), None]), "%+,%-%-,%-");
}

#[test]
fn sequences() {
    assert_eq!(text(&[1, 2, 3]), "1,2,3");
    assert_eq!(text(&["a,b", "c"]), "a%2Cb,c");
    assert_eq!(text(&"a,b,c"), "a%2Cb%2Cc");
    assert_eq!(text(&[vec![1, 2], vec![3]]), "1%2C2,3");
    assert_eq!(text(&[vec!["a,b"], vec![]]), "a%252Cb,%25.");
    assert_eq!(text(&(1, "x", Some(true), None::<u8>)), "1,x,true,%-");
    assert_eq!(
        text(&BTreeMap::from([("a=", 1), ("b", 2)])),
        "a%253D%3D1,b%3D2"
    );
}

#[test]
fn structs() {
    let key = |value: &dyn Fn(&mut KeyBuilder)| {
        let mut builder = KeyBuilder::new("p");
        value(&mut builder);
        builder.finish().to_string()
    };
    let open = || filter(Some("open"), &["x", "y"]);
    assert_eq!(
        key(&|k| k.part("filter", &open())),
        "p:filter.status=open&filter.tags=x,y"
    );
    assert_eq!(key(&|k| k.flatten(&open())), "p:status=open&tags=x,y");
    assert_eq!(
        key(&|k| k.part("filter", &Flat(open()))),
        "p:filter.status=open&filter.tags=x,y"
    );
    let search = Search {
        filter: open(),
        query: "a&b",
    };
    assert_eq!(
        key(&|k| k.part("s", &search)),
        "p:s.filter.status=open&s.filter.tags=x,y&s.query=a%26b"
    );
    assert_eq!(
        key(&|k| k.flatten(&search)),
        "p:filter.status=open&filter.tags=x,y&query=a%26b"
    );
    assert_eq!(
        key(&|k| k.part("l", &[filter(None, &["a,"]), filter(Some("x"), &[])])),
        "p:l=tags%3Da%252C,status%3Dx%26tags%3D%25.",
    );
}

#[test]
fn templates_get_the_text_behind_the_name() {
    assert_eq!(value_text(&7), "7");
    assert_eq!(value_text("a*b"), "a%2Ab");
    assert_eq!(value_text(""), "");
    assert_eq!(value_text(&[1, 2]), "1,2");
    assert_eq!(value_text(&None::<u8>), "%-");
    assert_eq!(value_text(&filter(None, &["a"])), "tags=a");
}

#[test]
fn long_keys_end_in_a_digest() {
    let long = "x".repeat(5000);
    let key = Key::new("p").part("a", &long);
    assert_eq!(key.as_str().len(), 1024);
    assert_ne!(key, Key::new("p").part("a", &format!("{long}x")));
    assert_eq!(key.prefix(), "p");
    assert_eq!(Key::raw(&long).as_str().len(), 1024);
    assert_eq!(Key::raw("x".repeat(1024)).as_str(), "x".repeat(1024));
}
