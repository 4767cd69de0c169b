//! Keys: their parts, the encoding of values, and the types that can be a part.
//!
//! ```text
//! list_issues:organization=myorg&project=a%2Cb&status=unresolved
//! prefix      name         value
//! ```
//!
//! Three marks tell apart what would otherwise read the same; none of them is a percent-encoded byte, so no value
//! gives them: `%-` is a `None` that is not simply left out, `%.` a sequence without elements, `%+` a `Some` whose
//! value wrote nothing.

mod builder;
mod bytes;
mod escape;
mod impls;
#[allow(
    clippy::module_inception,
    reason = "the type `Key` is what the module is about"
)]
mod key;
mod long;
mod writer;

#[cfg(test)]
mod tests;

pub use builder::{KeyBuilder, value_text};
pub(crate) use builder::{part_name, parts_text};
pub use key::Key;
pub use writer::KeyWriter;

/// A type whose values can be a part of a key.
///
/// The standard types that services pass around implement it: integers, floats, `bool`, `char`, strings, `Option`,
/// slices, arrays, `Vec`, tuples, `BTreeMap`, `Duration`, IP addresses, references, `Box`, `Arc`, `Cow` and some more.
/// For your own structs and enums use `#[derive(CacheKey)]`. Types without an order of their own (`HashMap`,
/// `HashSet`) do not implement it: collect them into a `BTreeMap` or `BTreeSet`.
///
/// For a type of another crate, pass its text or a `BTreeMap` in its place, or leave the argument to
/// `#[cached(key(name = …))]` with an expression that is a key part, such as `key(id = id.to_string())`. In a struct, put
/// `#[cache_key(skip)]` on a field that does not matter.
///
/// Floats are written as the shortest text that reads back as the same number: `1.0`, `0.1`. `-0.0` is written as `0.0`,
/// and every NaN as `NaN`. An `f32` and an `f64` of the same number may differ in their text.
///
/// An implementation must write different text for different values, and the same text for the same value in every
/// process.
///
/// # Examples
///
/// ```
/// use dexter_cache::{CacheKey, Key, KeyWriter};
///
/// enum Range { Day, Since(u64) }
///
/// impl CacheKey for Range {
///     fn write_key(&self, out: &mut KeyWriter<'_>) {
///         match self {
///             Range::Day => out.text("day"),
///             Range::Since(seconds) => out.display(seconds),
///         }
///     }
/// }
///
/// assert_eq!(Key::new("analytics").part("range", &Range::Day).as_str(), "analytics:range=day");
/// assert_eq!(Key::new("analytics").part("range", &Range::Since(7)).as_str(), "analytics:range=7");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a part of a cache key",
    label = "not a key part",
    note = "put `#[derive(CacheKey)]` on the type, or leave the argument out of the key with `skip(...)`",
    note = "a type of another crate: take it apart in the signature (`Path(id): Path<u64>`), pass a `BTreeMap` or its text, or name what counts with `key(name = ...)`; on a field write `#[cache_key(skip)]`"
)]
pub trait CacheKey {
    /// Writes the value.
    fn write_key(&self, out: &mut KeyWriter<'_>);
}
