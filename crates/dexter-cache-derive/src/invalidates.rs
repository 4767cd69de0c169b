//! `#[invalidates(..)]`: what a writer makes stale.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::Parser as _;
use syn::spanned::Spanned as _;
use syn::{Error, Expr, Ident, Result, Type};

use crate::key::{reference_at, take_apart};
use crate::model::private;
use crate::signature::{Arg, Body, Function};
use crate::targets::{InvalidatesArgs, Resolved, named_in, parse, result_name, uses_result};
use crate::{body, names};

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let args = parse.parse2(options)?;
    let function = Function::parse(item, "invalidates")?;
    if args.targets.is_empty() {
        return Err(Error::new(
            Span::call_site(),
            "nothing is invalidated: write calls of cached functions or patterns, `#[invalidates(get_issue(id), pattern = \"list_issues:*\")]`",
        ));
    }
    let private = private(args.krate.as_ref());
    let mut before = Statements::default();
    let mut after = Statements::default();
    for target in &args.targets {
        let target = Resolved::new(target, &function, &private)?;
        if target.uses_result {
            after.push(target);
        } else {
            before.push(target);
        }
    }
    possible(&args, &function, &before)?;
    let condition = args.condition.as_ref();
    if let Some(condition) = condition.filter(|condition| uses_result(*condition, &function)) {
        after.only_if(condition);
    } else if let Some(condition) = condition {
        before.only_if(condition);
    }
    Ok(tokens(&function, &args, &private, &before, &after))
}

/// What is asked for can be done at the time it is asked for.
fn possible(args: &InvalidatesArgs, function: &Function, before: &Statements) -> Result<()> {
    if before.tokens.is_empty() {
        if let Some(span) = args.before {
            let message = "every target looks at `result`, which is not there before the function runs: leave `before` out";
            return Err(Error::new(span, message));
        }
        if let Some(span) = args.always {
            let message = "every target looks at `result`, which an `Err` does not have: leave `always` out, or name a target by the arguments";
            return Err(Error::new(span, message));
        }
    }
    let asks_result = args
        .condition
        .as_ref()
        .filter(|condition| uses_result(*condition, function))
        .and_then(|condition| result_name(&condition.to_token_stream()));
    let Some(result) = asks_result else {
        return Ok(());
    };
    let message = if args.before.is_some() {
        "there is no `result` before the function has run: ask the arguments, or leave `before` out"
    } else if args.always.is_some() {
        "an `Err` has no `result` to ask: ask the arguments, or leave `always` out"
    } else {
        return Ok(());
    };
    Err(Error::new(result.span(), message))
}

/// Targets that become known at one time.
#[derive(Default)]
struct Statements {
    tokens: TokenStream,
    mentioned: TokenStream,
}

impl Statements {
    fn push(&mut self, target: Resolved) {
        self.tokens.extend(target.tokens);
        self.mentioned.extend(target.mentioned);
    }

    /// Puts all of them under a condition; where it does not hold, those of the other time do not count either.
    fn only_if(&mut self, condition: &Expr) {
        let [targets, holds] = ["targets", "holds"].map(names::local);
        let span = condition.span().resolved_at(Span::mixed_site());
        let holding = quote_spanned!(span=> let #holds: ::core::primitive::bool = #condition;);
        let tokens = &self.tokens;
        self.tokens = quote! {
            #holding
            if #holds {
                #tokens
            } else {
                #targets.off();
            }
        };
        self.mentioned.extend(condition.to_token_stream());
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "one template, easier to read in one piece"
)]
fn tokens(
    function: &Function,
    args: &InvalidatesArgs,
    private: &TokenStream,
    before: &Statements,
    after: &Statements,
) -> TokenStream {
    let (attrs, vis, sig, output) = (
        &function.attrs,
        &function.vis,
        function.outer_signature(),
        &function.output,
    );
    let [targets, result, cache, success] =
        ["targets", "result", "cache", "success"].map(names::local);
    let body = body::block(function);
    let now = by_value(function, |name| names::mentions(&before.mentioned, name));
    let before = &before.tokens;
    let both = args.before.map(|_| quote!(#targets.before();));
    let run = if args.always.is_some() {
        quote!(invalidating_always)
    } else {
        quote!(invalidating)
    };

    // What the targets of the result need is cloned before the body takes the arguments.
    let later: Vec<(&Ident, Ident)> = function
        .args
        .iter()
        .flat_map(Arg::bindings)
        .filter(|name| names::mentions(&after.mentioned, name))
        .map(|name| (name, names::local(&format!("later_{}", names::text(name)))))
        .collect();
    let taken = by_value(function, |name| {
        later.iter().any(|(other, _)| *other == name)
    });
    let clones = later.iter().map(|(name, clone)| {
        // What cannot be cloned is reported where the target names it.
        let at = named_in(&after.mentioned, name).unwrap_or_else(|| name.span());
        let cloned =
            quote_spanned!(at.resolved_at(Span::mixed_site())=> ::core::clone::Clone::clone);
        let given = reference_at(name, &Ident::new("at", at));
        quote!(let #clone = #cloned(#given);)
    });
    let clone_names = later.iter().map(|(_, clone)| clone);
    let stored: Vec<_> = later.iter().map(|(_, clone)| clone).collect();
    let shadowing = body::shadowing();
    let restored = later
        .iter()
        .map(|(name, clone)| quote!(#shadowing #[allow(unused_variables)] let #name = #clone;));
    let lint = body::underscores(function);
    let clones = (!later.is_empty()).then(|| {
        quote! {
            #lint
            let (#(#stored,)*) = {
                #taken
                #(#clones)*
                (#(#clone_names,)*)
            };
        }
    });
    let name = result_name(&after.mentioned);
    let bind = name.map(|name| quote!(let #name = #result;));
    let after = &after.tokens;
    let from_result = if after.is_empty() {
        quote!(|_, _| ())
    } else {
        quote!(move |#result, #targets| { #(#restored)* #bind #after })
    };

    let cache_of = args.cache.as_ref().map(|expr| {
        let span = expr.span().resolved_at(Span::mixed_site());
        let taken = by_value(function, |name| names::mentions(expr, name));
        let reference = quote_spanned!(span=> &(#expr));
        quote! {
            let #cache = {
                #taken
                let #cache: &#private::Cache = #reference;
                ::core::clone::Clone::clone(#cache)
            };
        }
    });
    let cache = if args.cache.is_some() {
        quote!(::core::option::Option::Some(&#cache))
    } else {
        quote!(::core::option::Option::None)
    };
    let success_of = if matches!(output, Type::ImplTrait(_)) {
        quote!(#private::Always)
    } else {
        quote!({
            use #private::probe::levels::*;
            (&&#private::probe::Probe::<#output>::new()).dexter_success()
        })
    };
    let block = quote! {
        {
            #lint
            let #targets = {
                let mut #targets = #private::Targets::new();
                {
                    let #targets = &mut #targets;
                    #now
                    #both
                    #before
                    let _: &mut #private::Targets = #targets;
                }
                #targets
            };
            #clones
            #cache_of
            let #success = #success_of;
            #private::#run(#cache, #success, #targets, #body, #from_result).await
        }
    };
    match &function.body {
        Body::Async(_) => quote! {
            #(#attrs)*
            #vis #sig #block
        },
        Body::Boxed(_) => quote! {
            #(#attrs)*
            #vis #sig {
                ::std::boxed::Box::pin(async move #block)
            }
        },
    }
}

/// Names that arguments are taken apart into, each as a clone of its own.
fn by_value(function: &Function, used: impl Fn(&Ident) -> bool) -> TokenStream {
    let mut tokens = take_apart(function, &used);
    let shadowing = body::shadowing();
    let parts = function
        .args
        .iter()
        .flat_map(|arg| arg.parts.iter().flatten());
    tokens.extend(
        parts
            .filter(|name| used(name))
            .map(|name| quote!(#shadowing let #name = ::core::clone::Clone::clone(#name);)),
    );
    tokens
}
