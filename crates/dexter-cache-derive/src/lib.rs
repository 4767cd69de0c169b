//! The attribute macros of `dexter-cache`: use them through that crate, where they are documented.

mod args;
mod body;
mod cache_key;
mod cached;
mod case;
mod companions;
mod detach;
mod duration;
mod fallback;
mod invalidates;
mod key;
mod lives;
mod matching;
mod model;
mod names;
mod options;
mod pattern;
mod signature;
mod targets;
mod template;

use proc_macro::TokenStream;

#[expect(missing_docs, reason = "documented where `dexter-cache` re-exports it")]
#[proc_macro_attribute]
pub fn cached(options: TokenStream, item: TokenStream) -> TokenStream {
    fallback::attribute(options, item, cached::expand)
}

#[expect(missing_docs, reason = "documented where `dexter-cache` re-exports it")]
#[proc_macro_attribute]
pub fn invalidates(options: TokenStream, item: TokenStream) -> TokenStream {
    fallback::attribute(options, item, invalidates::expand)
}

#[expect(missing_docs, reason = "documented where `dexter-cache` re-exports it")]
#[proc_macro_derive(CacheKey, attributes(cache_key))]
pub fn cache_key(item: TokenStream) -> TokenStream {
    fallback::derive(item, cache_key::expand)
}
