//! The companions of a cached function: `key`, `matching`, `remove`, `peek`, `refresh`, `warm`.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::{GenericParam, Generics, Ident, Receiver, ReceiverKind, TypeParamBound, WherePredicate};

use crate::cached;
use crate::model::{Model, Place};
use crate::signature::{Arg, plain};
use crate::{matching, names};

/// A `&'static Site`.
pub(crate) fn site(model: &Model) -> TokenStream {
    match (&model.companion, model.place) {
        (Some(_), Place::Free) => {
            let site = free_site(model);
            quote!(#site())
        }
        (Some(_), _) => {
            let site = method_site(model);
            quote!(Self::#site())
        }
        (None, _) => {
            let site = site_static(model);
            quote!({ #site &SITE })
        }
    }
}

/// The function's site in the companion. Where something else has the companion's name, this is what is not found.
const SITE: &str = "__the_name_is_taken_write_companion_none_or_companion_eq_another_name";

/// A function beside a free one. In an `impl` it is not found by this name alone, so the name says what to write.
fn free_site(model: &Model) -> Ident {
    let name = &model.function.sig.ident;
    names::item(
        &format!(
            "__{}_has_no_self_so_in_an_impl_write_cached_assoc",
            names::text(name)
        ),
        name,
    )
}

/// A function beside a method. An `impl` of a trait has no room for it, so the name says what to write there.
fn method_site(model: &Model) -> Ident {
    let name = &model.function.sig.ident;
    names::item(
        &format!(
            "__{}_in_an_impl_of_a_trait_write_companion_none",
            names::text(name)
        ),
        name,
    )
}

fn site_static(model: &Model) -> TokenStream {
    let private = &model.private;
    let name = names::text(&model.function.sig.ident);
    let prefix = model
        .args
        .prefix
        .as_ref()
        .map(|prefix| quote!(.prefix(#prefix)));
    let version = model.args.version.map(|version| quote!(.version(#version)));
    let local = model.args.local.then(|| quote!(.local()));
    quote! {
        static SITE: #private::Site = #private::Site::new(::core::module_path!(), #name) #prefix #version #local;
    }
}

pub(crate) fn expand(model: &Model) -> TokenStream {
    let Some(companion) = &model.companion else {
        return TokenStream::new();
    };
    let vis = &model.function.vis;
    let functions = functions(model, companion);
    if model.place != Place::Free {
        return functions;
    }
    let doc = format!(
        "Looks into the cache of [`{}()`] and changes it, without calling it.",
        names::text(&model.function.sig.ident)
    );
    let site = free_site(model);
    let in_companion = format_ident!("{SITE}");
    let builder = matching::builder(model);
    let private = &model.private;
    quote! {
        #[doc(hidden)]
        #[allow(dead_code, non_snake_case, clippy::all, clippy::pedantic, clippy::nursery)]
        fn #site() -> &'static #private::Site {
            #companion::#in_companion()
        }

        #[doc = #doc]
        #[doc(hidden)]
        #[allow(non_camel_case_types, dead_code, missing_debug_implementations, missing_copy_implementations)]
        #vis struct #companion {}

        #[doc(hidden)]
        #[allow(dead_code, deprecated, clippy::all, clippy::pedantic, clippy::nursery)]
        impl #companion {
            #functions
        }

        #builder
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "one template, easier to read in one piece"
)]
fn functions(model: &Model, companion: &Ident) -> TokenStream {
    let Model {
        function,
        private,
        parts,
        place,
        ..
    } = model;
    let vis = &function.vis;
    let output = &function.output;
    let free = *place == Place::Free;
    let name_of = |what: &str| {
        if free {
            Ident::new(what, companion.span())
        } else {
            format_ident!("{}_{what}", names::text(companion), span = companion.span())
        }
    };
    let [key, matching, remove, peek, refresh, warm] =
        ["key", "matching", "remove", "peek", "refresh", "warm"].map(name_of);
    let (site_name, attributes) = if free {
        (format_ident!("{SITE}"), TokenStream::new())
    } else {
        let attributes = quote!(#[doc(hidden)] #[allow(dead_code, deprecated, clippy::all, clippy::pedantic, clippy::nursery)]);
        (method_site(model), attributes)
    };
    let matching = matching::function(model, &matching, &site_name);
    let site_static = site_static(model);
    let closure = parts.closure(function, private);
    let this = function.this();
    let receiver = this.as_ref().map(|this| quote!(&#this,));

    let keyed: Vec<&Arg> = (0..function.args.len())
        .filter(|index| parts.needs(function, *index))
        .map(|index| &function.args[index])
        .collect();
    let reaching: Vec<&Arg> = function
        .args
        .iter()
        .enumerate()
        .filter(|(index, arg)| {
            parts.needs(function, *index)
                || model.args.cache.as_ref().is_some_and(|cache| {
                    arg.bindings()
                        .iter()
                        .any(|name| names::mentions(cache, name))
                })
        })
        .map(|(_, arg)| arg)
        .collect();
    let mentioned = parts.mentioned();
    let key_generics = Kept::new(model, &keyed, &mentioned);
    let remove_generics = Kept::new(model, &reaching, &mentioned);
    let peek_generics = Kept::new(model, &reaching, &quote!(#mentioned #output));
    let keyed = keyed.iter().map(|arg| arg.tokens());
    let reaching: Vec<_> = reaching.iter().map(|arg| arg.tokens()).collect();
    let cache = cached::cache(model);
    let shape = names::local("shape");
    let shape_of = cached::shape(model, &shape);
    let key_of = quote!(#private::key(Self::#site_name(), #closure));

    let all_receiver = function.receiver.as_ref().map(receiver_tokens);
    // An argument that is called like its function would hide it.
    let given: Vec<_> = function
        .args
        .iter()
        .map(|arg| {
            if arg.ident == function.sig.ident {
                names::local(&names::text(&arg.ident))
            } else {
                arg.ident.clone()
            }
        })
        .collect();
    let mut all = function.outer_signature().inputs;
    let typed = all.iter_mut().filter_map(|input| match input {
        syn::FnArg::Typed(input) => Some(input),
        syn::FnArg::Receiver(_) => None,
    });
    for (input, name) in typed.zip(&given) {
        *input.pat = plain(name.clone());
    }
    let turbofish = function.turbofish();
    let name = &function.sig.ident;
    let call = match place {
        Place::Free => quote!(#name #turbofish(#(#given),*)),
        Place::Associated => quote!(Self::#name #turbofish(#(#given),*)),
        Place::Method => quote!(Self::#name #turbofish(#this, #(#given),*)),
    };
    let all = all
        .into_iter()
        .filter(|input| !matches!(input, syn::FnArg::Receiver(_)));
    let all: Vec<_> = all.map(ToTokens::into_token_stream).collect();
    let generics = &function.sig.generics;
    let (params, clause) = (params(generics), &generics.where_clause);
    let (key_params, key_where) = key_generics.split();
    let (remove_params, remove_where) = remove_generics.split();
    let (peek_params, peek_where) = peek_generics.split();
    let target = (!free).then(|| target(model));
    quote! {
        #attributes
        fn #site_name() -> &'static #private::Site {
            #site_static
            &SITE
        }

        #target

        #[doc = "The key of a call with these arguments."]
        #attributes
        #vis fn #key #key_params(#receiver #(#keyed),*) -> #private::Key #key_where {
            #key_of
        }

        #matching

        #[doc = "Removes what is cached for these arguments."]
        #attributes
        #vis async fn #remove #remove_params(#receiver #(#reaching),*)
            -> ::core::result::Result<#private::Invalidated, #private::Error> #remove_where
        {
            #private::remove(Self::#site_name(), #cache, #key_of).await
        }

        #[doc = "What is cached for these arguments, without loading it."]
        #attributes
        #vis async fn #peek #peek_params(#receiver #(#reaching),*)
            -> ::core::result::Result<::core::option::Option<#output>, #private::Error> #peek_where
        {
            #shape_of
            #private::peek::<#output, _>(Self::#site_name(), #cache, #shape, #key_of).await
        }

        #[doc = "Calls the function without looking into the cache, and stores what it returns."]
        #attributes
        #vis async fn #refresh #params(#all_receiver #(#all),*) -> #output #clause {
            #private::refresh(#call).await
        }

        #[doc = "Fills the cache for these arguments, unless it holds a value."]
        #attributes
        #vis async fn #warm #params(#all_receiver #(#all),*) -> #output #clause {
            #private::warm(#call).await
        }
    }
}

/// What `#[invalidates(Self::name(..))]` calls: with `self` in front where there is one, whether it is wanted or not.
fn target(model: &Model) -> TokenStream {
    let Model {
        function,
        private,
        parts,
        place,
        ..
    } = model;
    let keyed: Vec<&Arg> = (0..function.args.len())
        .filter(|index| parts.needs(function, *index))
        .map(|index| &function.args[index])
        .collect();
    let name = model.beside("target");
    let generics = Kept::new(model, &keyed, &parts.mentioned());
    let names: Vec<_> = keyed.iter().map(|arg| &arg.ident).collect();
    let keyed = keyed.iter().map(|arg| arg.tokens());
    let companion = model
        .companion
        .as_ref()
        .map(|companion| format_ident!("{}_key", names::text(companion)));
    let vis = &function.vis;
    let turbofish = generics.turbofish();
    let (params, clause) = generics.split();
    let itself = function.this();
    let (this, call) = if *place == Place::Method {
        (
            quote!(&#itself),
            quote!(Self::#companion #turbofish(#itself, #(#names),*)),
        )
    } else {
        (
            quote!(_: impl ::core::marker::Sized),
            quote!(Self::#companion #turbofish(#(#names),*)),
        )
    };
    quote! {
        #[doc(hidden)]
        #[allow(dead_code, clippy::all, clippy::pedantic, clippy::nursery)]
        #vis fn #name #params(#this, #(#keyed),*) -> #private::Key #clause {
            #call
        }
    }
}

/// A receiver as written, without `mut`.
fn receiver_tokens(receiver: &Receiver) -> TokenStream {
    let mut receiver = receiver.clone();
    receiver.mutability = None;
    if let ReceiverKind::Reference(..) | ReceiverKind::Value | ReceiverKind::Typed(..) =
        &receiver.kind
    {
        return quote!(#receiver,);
    }
    quote!(#receiver,)
}

/// `<..>` with the bounds that were written there.
fn params(generics: &Generics) -> TokenStream {
    let params = &generics.params;
    if params.is_empty() {
        TokenStream::new()
    } else {
        quote!(<#params>)
    }
}

/// The generics that a companion needs: those of the arguments it takes, and what their bounds name.
pub(crate) struct Kept(Generics);

impl Kept {
    pub(crate) fn new(model: &Model, args: &[&Arg], mentioned: &TokenStream) -> Self {
        let all = &model.function.sig.generics;
        let mut text: TokenStream = args.iter().map(|arg| arg.ty.to_token_stream()).collect();
        text.extend(mentioned.clone());
        let mut kept: Vec<&GenericParam> = Vec::new();
        loop {
            let more: Vec<&GenericParam> = all
                .params
                .iter()
                .filter(|param| {
                    !kept.iter().any(|other| std::ptr::eq(*other, *param))
                        && names::mentions(&text, name(param))
                })
                .collect();
            if more.is_empty() {
                break;
            }
            for param in more {
                text.extend(param.to_token_stream());
                kept.push(param);
            }
        }
        let unknown = |tokens: TokenStream| {
            all.params.iter().any(|param| {
                !kept.iter().any(|other| std::ptr::eq(*other, param))
                    && names::mentions(&tokens, name(param))
            })
        };
        let params = all
            .params
            .iter()
            .filter(|param| kept.iter().any(|other| std::ptr::eq(*other, *param)))
            .cloned()
            .collect();
        let where_clause = all.where_clause.clone().map(|mut clause| {
            clause.predicates = clause
                .predicates
                .into_iter()
                .filter(|predicate| {
                    let tokens = predicate.to_token_stream();
                    !unknown(tokens.clone())
                        && (keeps(predicate)
                            || kept
                                .iter()
                                .any(|param| names::mentions(&tokens, name(param))))
                })
                .collect();
            clause
        });
        Self(Generics {
            params,
            where_clause,
            ..Generics::default()
        })
    }

    pub(crate) fn split(&self) -> (TokenStream, Option<&syn::WhereClause>) {
        (
            params(&self.0),
            self.0
                .where_clause
                .as_ref()
                .filter(|clause| !clause.predicates.is_empty()),
        )
    }

    fn turbofish(&self) -> TokenStream {
        let names: Vec<_> = self
            .0
            .params
            .iter()
            .filter(|param| !matches!(param, GenericParam::Lifetime(_)))
            .map(name)
            .collect();
        if names.is_empty() {
            TokenStream::new()
        } else {
            quote!(::<#(#names),*>)
        }
    }
}

/// A predicate on something that is no parameter of this function, such as `Self: Clone`.
fn keeps(predicate: &WherePredicate) -> bool {
    match predicate {
        WherePredicate::Type(predicate) => {
            names::mentions_word(&predicate.bounded_ty, "Self")
                && predicate
                    .bounds
                    .iter()
                    .all(|bound| matches!(bound, TypeParamBound::Trait(_)))
        }
        _ => false,
    }
}

pub(crate) fn name(param: &GenericParam) -> &Ident {
    match param {
        GenericParam::Lifetime(param) => &param.lifetime.ident,
        GenericParam::Type(param) => &param.ident,
        GenericParam::Const(param) => &param.ident,
    }
}
