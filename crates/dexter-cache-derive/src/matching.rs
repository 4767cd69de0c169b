//! The companion `matching()`: a pattern over keys, with a method for each part.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote};
use syn::Ident;

use crate::companions::Kept;
use crate::key::{Source, reference_at};
use crate::model::{Model, Place};
use crate::signature::Arg;
use crate::{cached, names};

/// Ends of a builder, unless a part is called so.
const PATTERN: &str = "pattern";
const REMOVE: &str = "remove";

/// The companion function itself.
pub(crate) fn function(model: &Model, name: &Ident, site: &Ident) -> TokenStream {
    let private = &model.private;
    let vis = &model.function.vis;
    let known = model.parts.sources().map(|(name, _)| name.to_owned());
    let keys = quote!(#private::matching(Self::#site(), &[#(#known),*]));
    let doc = "The keys of all calls, to be narrowed down to those in which some parts have given values.";
    if model.place == Place::Free {
        let builder = builder_name(model);
        quote! {
            #[doc = #doc]
            #vis fn #name() -> #builder {
                #builder(#keys)
            }
        }
    } else {
        // No type can be made inside of an `impl`: the parts are named by text there.
        quote! {
            #[doc = #doc]
            #[doc(hidden)]
            #[allow(dead_code, clippy::all, clippy::pedantic, clippy::nursery)]
            #vis fn #name() -> #private::Matching {
                #keys
            }
        }
    }
}

/// The type that a free function's companion returns.
pub(crate) fn builder(model: &Model) -> TokenStream {
    let private = &model.private;
    let vis = &model.function.vis;
    let builder = builder_name(model);
    let methods = model
        .parts
        .sources()
        .map(|(name, source)| method(model, name, source));
    let free = |name: &str| model.parts.sources().all(|(other, _)| other != name);
    let pattern = free(PATTERN).then(|| {
        let name = format_ident!("{PATTERN}");
        quote! {
            #[doc = "The pattern of these keys."]
            #vis fn #name(&self) -> #private::KeyPattern {
                self.0.pattern()
            }
        }
    });
    let remove = (free(REMOVE) && is_known_without_arguments(model)).then(|| {
        let name = format_ident!("{REMOVE}");
        let cache = cached::cache(model);
        quote! {
            #[doc = "Removes these keys."]
            #vis async fn #name(self) -> ::core::result::Result<#private::Invalidated, #private::Error> {
                #private::remove_matching(#cache, self.0.pattern()).await
            }
        }
    });
    quote! {
        #[doc(hidden)]
        #[derive(::core::fmt::Debug, ::core::clone::Clone)]
        #[must_use = "nothing is removed by this alone"]
        #[allow(non_camel_case_types, dead_code, unreachable_pub)]
        #vis struct #builder(#private::Matching);

        #[doc(hidden)]
        #[allow(dead_code, non_snake_case, clippy::all, clippy::pedantic, clippy::nursery)]
        impl #builder {
            #(#methods)*
            #pattern
            #remove
        }

        #[doc(hidden)]
        impl ::core::convert::From<#builder> for #private::KeyPattern {
            fn from(keys: #builder) -> Self {
                keys.0.pattern()
            }
        }
    }
}

fn builder_name(model: &Model) -> Ident {
    model.beside("matching")
}

/// A part takes what the argument of its name is; where that is not known, whatever can be a part.
fn method(model: &Model, name: &str, source: Source<'_>) -> TokenStream {
    let private = &model.private;
    let vis = &model.function.vis;
    let value = names::local("value");
    let method = method_name(name, source.span(&model.function));
    let doc = format!("Those in which `{name}` is this.");
    match source {
        Source::Arg(index) => {
            let arg = &model.function.args[index];
            let (value, ty) = (&arg.ident, &arg.ty);
            let generics = Kept::new(model, &[arg], &TokenStream::new());
            let (params, clause) = generics.split();
            // Where the type cannot be a part, this is the same error at the same place as for the key itself: one.
            let given = reference_at(value, ty);
            let key = names::local("key");
            quote! {
                #[doc = #doc]
                #vis fn #method #params(self, #value: #ty) -> Self #clause {
                    Self(#private::narrow(self.0, #name, |#key: &mut #private::KeyBuilder| {
                        #key.part(#name, #given);
                    }))
                }
            }
        }
        Source::TypeName(_) => quote! {
            #[doc = #doc]
            #vis fn #method<T: ?::core::marker::Sized>(self) -> Self {
                Self(self.0.part(#name, ::core::any::type_name::<T>()))
            }
        },
        Source::Other(_) => quote! {
            #[doc = #doc]
            #vis fn #method(self, #value: impl #private::CacheKey) -> Self {
                Self(self.0.part(#name, &#value))
            }
        },
    }
}

/// A part that is called like a keyword has a method all the same.
fn method_name(name: &str, span: Span) -> Ident {
    if syn::parse_str::<Ident>(name).is_ok() {
        return Ident::new(name, span);
    }
    if matches!(name, "crate" | "self" | "super" | "Self") {
        return Ident::new(&format!("{name}_"), span);
    }
    Ident::new_raw(name, span)
}

/// Whether the cache is to be had without an argument of a call.
fn is_known_without_arguments(model: &Model) -> bool {
    let Some(cache) = &model.args.cache else {
        return true;
    };
    let tokens = cache.to_token_stream();
    let mut args = model.function.args.iter().flat_map(Arg::bindings);
    let params = &model.function.sig.generics.params;
    !args.any(|name| names::mentions(&tokens, name))
        && !params
            .iter()
            .any(|param| names::mentions(&tokens, crate::companions::name(param)))
}
