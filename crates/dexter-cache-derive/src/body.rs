//! The body of a function as an async block, where it stays in its place.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{FnArg, Signature, Type, parse_quote};

use crate::names;
use crate::signature::{Arg, Body, Function};

pub(crate) fn block(function: &Function) -> TokenStream {
    let block = match &function.body {
        Body::Boxed(block) => return quote!(async move #block),
        Body::Async(block) => block,
    };
    // All arguments live as long as the body, whether it uses them or not. The attribute may use them.
    let args = function.args.iter().map(|arg| {
        let (pat, ident) = (&arg.pat, &arg.ident);
        let shadowing = shadowing();
        quote!(#shadowing #[allow(unused_variables, clippy::used_underscore_binding, clippy::no_effect_underscore_binding)] let #pat = #ident;)
    });
    if matches!(function.output, Type::ImplTrait(_)) {
        return quote!(async move { #(#args)* #block });
    }
    let result = names::local("result");
    let output = &function.output;
    // The first lines tell the type of the block, so that `?` and `return` know it.
    quote! {
        async move {
            if let ::core::option::Option::Some(#result) = ::core::option::Option::None::<#output> {
                return #result;
            }
            #(#args)*
            let #result: #output = #block;
            #result
        }
    }
}

/// The signature of a function that holds the body alone.
pub(crate) fn signature(function: &Function) -> Signature {
    let mut sig = function.sig.clone();
    for input in &mut sig.inputs {
        if let FnArg::Typed(input) = input {
            input.attrs.push(parse_quote!(#[allow(unused_variables)]));
        }
    }
    sig
}

/// Arguments that begin with `_` are passed on all the same.
pub(crate) fn underscores(function: &Function) -> Option<TokenStream> {
    let any = function
        .args
        .iter()
        .flat_map(Arg::bindings)
        .any(|name| name.to_string().starts_with('_'));
    any.then(
        || quote!(#[allow(clippy::used_underscore_binding, clippy::no_effect_underscore_binding)]),
    )
}

/// For statements that give an argument its own name again.
pub(crate) fn shadowing() -> TokenStream {
    quote!(#[allow(clippy::shadow_same, clippy::shadow_reuse, clippy::shadow_unrelated, clippy::pattern_type_mismatch)])
}
