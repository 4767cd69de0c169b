//! `#[cached]`: from the model to tokens.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Ident, Result, Type};

use crate::detach::{Passing, passing};
use crate::key::{reference_at, standing_at, take_apart};
use crate::model::{Load, Model, Place};
use crate::names;
use crate::signature::Body;
use crate::template::Template;
use crate::{body, companions};

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let model = Model::new(options, item)?;
    let function = function(&model);
    let companions = companions::expand(&model);
    let beside = (model.load == Load::Beside).then(|| beside(&model));
    Ok(quote! {
        #function
        #beside
        #companions
    })
}

/// The function itself. All but the one await is inside of a block, so that nothing of it is part of the future: its
/// size is that of the arguments, a pointer and a state.
fn function(model: &Model) -> TokenStream {
    let Model { function, .. } = model;
    let (attrs, vis, sig) = (&function.attrs, &function.vis, function.outer_signature());
    let body = lookup(model);
    match &function.body {
        Body::Async(_) => quote! {
            #(#attrs)*
            #vis #sig #body
        },
        Body::Boxed(_) => quote! {
            #(#attrs)*
            #vis #sig {
                ::std::boxed::Box::pin(async move #body)
            }
        },
    }
}

/// `{ .. }`: look, and load where there is nothing.
fn lookup(model: &Model) -> TokenStream {
    let Model {
        function, private, ..
    } = model;
    let no_parameter = no_parameter(model);
    let shadowing = body::shadowing();
    let [pinned, miss, hit, ttl, shape, sharing, launch] =
        ["pinned", "miss", "hit", "ttl", "shape", "sharing", "launch"].map(names::local);
    let output = &function.output;
    let args: Vec<_> = function.args.iter().map(|arg| &arg.ident).collect();
    let site = companions::site(model);
    let inner = (model.load == Load::Inner).then(|| inner(model));
    let shape_of = self::shape(model, &shape);
    let sharing_of = self::sharing(model);
    let cache = cache(model);
    let key = model.parts.closure(function, private);
    let lives = &model.args.lives;
    let ttl_of = model.args.ttl.as_ref().map(|ttl| {
        let mut tokens = ttl.tokens(private);
        let policy = lives.policy(private);
        if !policy.is_empty() {
            tokens = quote!(#private::Policy::new(#tokens) #policy);
        }
        let takes_apart = take_apart(function, |name| names::mentions(&tokens, name));
        quote!({ #takes_apart #tokens })
    });
    let policy_of = tagged(model, ttl_of);
    let launch_of = self::launch(model);
    let asked = lives.asked(private, output, &launch);
    let load = load(model);
    let lint = body::underscores(function);
    // Where a hit may be due for a refresh, it is returned once that has begun.
    let ahead = lives.is_refreshed_ahead();
    let enter = Ident::new(
        if ahead { "enter_ahead" } else { "enter" },
        Span::mixed_site(),
    );
    let (found, due) = if ahead {
        let found = quote! {
            #private::Entered::Hit(#hit) => return #hit,
            #private::Entered::Due(#hit, #miss) => (::core::option::Option::Some(#hit), #miss),
            #private::Entered::Miss(#miss) => (::core::option::Option::None, #miss),
        };
        let due = quote! {
            if let ::core::option::Option::Some(#hit) = #hit {
                #launch.refresh(#miss, #shape, #sharing, #ttl, #load);
                return #hit;
            }
        };
        (found, due)
    } else {
        let found = quote! {
            #private::Entered::Hit(#hit) | #private::Entered::Due(#hit, _) => return #hit,
            #private::Entered::Miss(#miss) => #miss,
        };
        (found, TokenStream::new())
    };
    let missed = if ahead {
        quote!((#hit, #miss))
    } else {
        quote!(#miss)
    };
    quote! {
        {
            #no_parameter
            #lint
            let #pinned = {
                #inner
                #(#shadowing let #args = #args;)*
                #shape_of
                let #missed = match #private::#enter::<#output, _>(#site, #cache, #shape, #key) {
                    #found
                };
                let #ttl = #policy_of;
                let #sharing = #sharing_of;
                let #launch = #launch_of;
                #asked
                #due
                ::std::boxed::Box::pin(#launch.run(#miss, #shape, #sharing, #ttl, #load))
            };
            #pinned.await
        }
    }
}

/// An attribute is not told the parameters of the `impl` around its function. An item inside of the function cannot name
/// them, which makes one as the bare result the error that it is.
fn no_parameter(model: &Model) -> Option<TokenStream> {
    let output = &model.function.output;
    let Type::Path(path) = output else {
        return None;
    };
    let name = path.path.get_ident().filter(|name| *name != "Self")?;
    (model.place != Place::Free).then(|| {
        let item = Ident::new(RESULT, Span::mixed_site().located_at(name.span()));
        quote! {
            #[allow(dead_code, non_snake_case, elided_lifetimes_in_paths, mismatched_lifetime_syntaxes, clippy::all, clippy::pedantic, clippy::nursery)]
            fn #item(_: &()) -> #output { loop {} }
        }
    })
}

const RESULT: &str = "__a_result_of_any_type_is_no_value_write_option_or_result";

/// The policy with the tags on it.
fn tagged(model: &Model, policy: Option<TokenStream>) -> Option<TokenStream> {
    let Model {
        function,
        private,
        tags,
        ..
    } = model;
    if tags.is_empty() {
        return policy;
    }
    let mentioned: TokenStream = tags.iter().map(Template::mentioned).collect();
    let takes_apart = take_apart(function, |name| names::mentions(&mentioned, name));
    let tags = tags.iter().map(|tag| tag.tokens(private));
    let tagged = names::local("policy");
    Some(quote!({
        let #tagged: #private::Policy = ::core::convert::From::from(#policy);
        #takes_apart
        #tagged #(.tag(#tags))*
    }))
}

/// `let shape = ..`: the one place where the bounds of a value are asked for, pointing at the return type.
pub(crate) fn shape(model: &Model, shape: &Ident) -> TokenStream {
    let Model {
        function,
        private,
        args,
        ..
    } = model;
    let output = &function.output;
    let (method, checked) = if args.local {
        ("dexter_local_shape", "checked_local")
    } else {
        ("dexter_shape", "checked")
    };
    let [method, checked] = [method, checked].map(|name| Ident::new(name, Span::mixed_site()));
    let at = match &function.sig.output {
        syn::ReturnType::Default => function.sig.ident.to_token_stream(),
        syn::ReturnType::Type(..) => output.to_token_stream(),
    };
    let checked = standing_at(quote!(#private::probe::#checked), &at);
    let argument = reference_at(shape, &at);
    quote! {
        let #shape = {
            use #private::probe::levels::*;
            (&&&&#private::probe::Probe::<#output>::new()).#method()
        };
        #checked(#argument);
        let #shape = {
            use #private::probe::levels::*;
            #private::probe::opaque::<#output, _>(&(&&#private::probe::claim::<#output, _>(#shape)).dexter_settle())
        };
    }
}

fn sharing(model: &Model) -> TokenStream {
    let Model {
        function, private, ..
    } = model;
    let output = &function.output;
    let probe = names::local("probe");
    let late = model.args.lives.late(private, &probe);
    quote!({
        use #private::probe::levels::*;
        let #probe = #private::probe::Probe::<#output>::new();
        #private::Sharing((&&&#probe).dexter_failure(), (&&&#probe).dexter_nothing(), #late)
    })
}

/// The cache that was named, as an `Option<&Cache>`.
pub(crate) fn cache(model: &Model) -> TokenStream {
    let private = &model.private;
    match &model.args.cache {
        None => quote!(::core::option::Option::None),
        Some(expr) => {
            let takes_apart = take_apart(&model.function, |name| names::mentions(expr, name));
            let span = expr.span().resolved_at(Span::mixed_site());
            let reference = quote_spanned!(span=> &(#expr));
            if takes_apart.is_empty() {
                quote!(::core::option::Option::Some::<&#private::Cache>(#reference))
            } else {
                quote!({ #takes_apart ::core::option::Option::Some::<&#private::Cache>(#reference) })
            }
        }
    }
}

/// The name of the function that holds the body.
fn body_name(model: &Model) -> Ident {
    match model.load {
        Load::Beside => model.beside("body"),
        _ => names::local("dexter_body"),
    }
}

fn inner(model: &Model) -> TokenStream {
    let mut sig = body::signature(&model.function);
    sig.ident = body_name(model);
    let Body::Async(block) = &model.function.body else {
        return TokenStream::new();
    };
    quote! {
        #[allow(clippy::unused_async)]
        #sig #block
    }
}

/// The body as a function of its own, in the same `impl`.
fn beside(model: &Model) -> TokenStream {
    let mut sig = body::signature(&model.function);
    sig.ident = body_name(model);
    let Body::Async(block) = &model.function.body else {
        return TokenStream::new();
    };
    let lints = model.function.attrs.iter().filter_map(|attr| {
        let is = |name| attr.path().is_ident(name);
        if is("expect") {
            // What is expected may be in the signature, or in the body: here it only must not be reported.
            let list = &attr.meta.require_list().ok()?.tokens;
            return Some(quote!(#[allow(#list)]));
        }
        (is("allow") || is("warn") || is("deny")).then(|| attr.to_token_stream())
    });
    quote! {
        #(#lints)*
        #[doc(hidden)]
        #[allow(clippy::unused_async, clippy::used_underscore_items)]
        #sig #block
    }
}

/// `Detach` or `Inline`, as types decide: a closure that is never called returns all that a detached load would hold.
fn launch(model: &Model) -> TokenStream {
    let Model {
        function,
        private,
        load,
        ..
    } = model;
    if *load == Load::InPlace {
        return quote!(#private::Inline);
    }
    let output = &function.output;
    let mut asked = Vec::new();
    let mut given = Vec::new();
    if let Some(receiver) = &function.receiver {
        asked.push(match &receiver.kind {
            syn::ReceiverKind::Reference(..) => {
                quote!((&&#private::own::loan(#private::probe::any::<&Self>())).dexter_can_keep())
            }
            syn::ReceiverKind::Typed(_, ty) => quote!(#private::probe::any::<#ty>()),
            _ => quote!(#private::probe::any::<Self>()),
        });
        given.push(quote!(#private::probe::any()));
    }
    for arg in &function.args {
        let ty = &arg.ty;
        asked.push(match passing(ty) {
            Passing::Borrowed => quote!((&&#private::own::loan(#private::probe::any::<#ty>())).dexter_can_keep()),
            Passing::BorrowedOption => {
                quote!((&&#private::own::loan_option(#private::probe::any::<#ty>())).dexter_can_keep())
            }
            Passing::Moved | Passing::Held(_) => quote!(#private::probe::any::<#ty>()),
        });
        given.push(quote!(#private::probe::any()));
    }
    let call = body_call(model, &given);
    // Nested pairs: tuples of many elements are `Send` as well, but not of any number.
    let asked = asked.into_iter().rfold(
        quote!((#private::probe::any::<#output>(), #call)),
        |rest, one| quote!((#one, #rest)),
    );
    quote!({
        use #private::probe::levels::*;
        (&&#private::probe::probe_of(&|| #asked)).dexter_launch()
    })
}

/// A call of the function that holds the body.
fn body_call(model: &Model, args: &[TokenStream]) -> TokenStream {
    let name = body_name(model);
    let turbofish = model.function.turbofish();
    match model.place {
        Place::Free => quote!(#name #turbofish(#(#args),*)),
        Place::Method | Place::Associated => quote!(Self::#name #turbofish(#(#args),*)),
    }
}

/// The closure that begins the load.
fn load(model: &Model) -> TokenStream {
    match model.load {
        Load::InPlace => {
            let body = body::block(&model.function);
            quote!(move || #body)
        }
        Load::Inner | Load::Beside => detachable(model),
    }
}

fn detachable(model: &Model) -> TokenStream {
    let Model {
        function, private, ..
    } = model;
    let mut owned = TokenStream::new();
    let mut given = Vec::new();
    let shadowing = body::shadowing();
    if let Some(receiver) = &function.receiver {
        if matches!(receiver.kind, syn::ReceiverKind::Reference(..)) {
            let (this, lent) = (receiver.self_token, names::local("self"));
            owned.extend(quote!(let #lent = (&&#private::own::loan(#this)).dexter_own();));
            given.push(quote!(#lent.lend()));
        } else {
            given.push(receiver.self_token.to_token_stream());
        }
    }
    for arg in &function.args {
        let ident = &arg.ident;
        let loan = match passing(&arg.ty) {
            Passing::Borrowed => "loan",
            Passing::BorrowedOption => "loan_option",
            Passing::Moved | Passing::Held(_) => {
                given.push(quote!(#ident));
                continue;
            }
        };
        let loan = Ident::new(loan, Span::mixed_site());
        owned
            .extend(quote!(#shadowing let #ident = (&&#private::own::#loan(#ident)).dexter_own();));
        given.push(quote!(#ident.lend()));
    }
    let call = body_call(model, &given);
    let levels = (!owned.is_empty()).then(|| quote!(use #private::probe::levels::*;));
    quote! {
        move || {
            #levels
            #owned
            async move { #call.await }
        }
    }
}
