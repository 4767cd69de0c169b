//! A mistake gives its error and the item as it was, so that nothing else breaks because of it.

use proc_macro2::TokenStream;
use syn::Result;

pub(crate) fn attribute(
    options: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
    expand: fn(TokenStream, TokenStream) -> Result<TokenStream>,
) -> proc_macro::TokenStream {
    let item = TokenStream::from(item);
    expand(options.into(), item.clone())
        .unwrap_or_else(|error| {
            let mut tokens = error.into_compile_error();
            tokens.extend(item);
            tokens
        })
        .into()
}

pub(crate) fn derive(
    item: proc_macro::TokenStream,
    expand: fn(TokenStream) -> Result<TokenStream>,
) -> proc_macro::TokenStream {
    expand(item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
