//! `#[invalidates(..)]`: what a writer makes stale.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::spanned::Spanned as _;
use syn::{
    Error, Expr, ExprCall, ExprMethodCall, Ident, LitStr, Path, PathArguments, ReceiverKind,
    Result, Token, Type,
};

use crate::model::private;
use crate::signature::{Arg, Body, Function};
use crate::template::Template;
use crate::{body, names, options, pattern};

const KNOWN: &[&str] = &["pattern", "key", "before", "always", "if", "cache", "crate"];

#[derive(Default)]
struct InvalidatesArgs {
    targets: Vec<Target>,
    before: Option<Span>,
    always: Option<Span>,
    condition: Option<Expr>,
    cache: Option<Expr>,
    krate: Option<Path>,
}

enum Target {
    /// A call, as of the cached function itself.
    Call(Expr),
    Pattern(LitStr),
    Key(LitStr),
}

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
        let holding = quote_spanned!(span=> let #holds: bool = #condition;);
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
    let clones = later
        .iter()
        .map(|(name, clone)| quote!(let #clone = ::core::clone::Clone::clone(&#name);));
    let clone_names = later.iter().map(|(_, clone)| clone);
    let stored: Vec<_> = later.iter().map(|(_, clone)| clone).collect();
    let restored = later
        .iter()
        .map(|(name, clone)| quote!(#[allow(unused_variables)] let #name = #clone;));
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
    let mut tokens = TokenStream::new();
    for arg in &function.args {
        let used: Vec<Ident> = arg
            .parts
            .iter()
            .flatten()
            .filter(|name| used(name))
            .cloned()
            .collect();
        if used.is_empty() {
            continue;
        }
        let pat = pattern::through_reference(&arg.pat, &used);
        let ident = &arg.ident;
        tokens.extend(if let syn::Pat::Reference(_) = arg.pat {
            quote!(let #pat = #ident;)
        } else {
            quote!(let #pat = &#ident;)
        });
        tokens.extend(
            used.iter()
                .map(|name| quote!(let #name = ::core::clone::Clone::clone(#name);)),
        );
    }
    tokens
}

/// The word `result` as it was written, with its place.
fn result_name(tokens: &TokenStream) -> Option<Ident> {
    tokens.clone().into_iter().find_map(|token| match token {
        proc_macro2::TokenTree::Ident(ident) if ident == "result" => Some(ident),
        proc_macro2::TokenTree::Group(group) => result_name(&group.stream()),
        _ => None,
    })
}

struct Resolved {
    tokens: TokenStream,
    mentioned: TokenStream,
    uses_result: bool,
}

impl Resolved {
    fn new(target: &Target, function: &Function, private: &TokenStream) -> Result<Self> {
        let targets = names::local("targets");
        let is_arg = |name: &Ident| {
            function
                .args
                .iter()
                .any(|arg| arg.bindings().contains(name))
        };
        let known = |name: &Ident| {
            is_arg(name) || name == "result" || (name == "self" && function.receiver.is_some())
        };
        let (tokens, mentioned) = match target {
            Target::Call(keys) if is_matching(keys) => {
                let keys = names_cloned(keys, function);
                let span = keys.span().resolved_at(Span::mixed_site());
                let pattern = quote_spanned!(span=> ::core::convert::From::from(#keys));
                (quote!(#targets.pattern(#pattern);), keys.to_token_stream())
            }
            Target::Call(call) => {
                let key = call_of_key(call, function)?;
                (quote!(#targets.key(#key);), call.to_token_stream())
            }
            Target::Pattern(text) => {
                let template = Template::new(text, known)?;
                let text = template.tokens(private);
                (
                    quote!(#targets.pattern(#text.pattern());),
                    template.mentioned(),
                )
            }
            Target::Key(text) => {
                let template = Template::new(text, known)?;
                let text = template.tokens(private);
                (quote!(#targets.key(#text.key());), template.mentioned())
            }
        };
        let uses_result = uses_result(&mentioned, function);
        Ok(Self {
            tokens,
            mentioned,
            uses_result,
        })
    }
}

/// Whether `tokens` look at what the function returned. An argument that is called `result` comes first.
fn uses_result(tokens: impl ToTokens, function: &Function) -> bool {
    let mut names = function.args.iter().flat_map(Arg::bindings);
    !names.any(|name| name == "result") && names::mentions_word(tokens, "result")
}

/// Whether this is `list_issues::matching().project(id)`, or `Self::analytics_matching().part("range", &range)`.
fn is_matching(call: &Expr) -> bool {
    fn begins(call: &Expr) -> bool {
        match call {
            Expr::MethodCall(call) => begins(&call.receiver),
            Expr::Call(ExprCall { func, args, .. }) if args.is_empty() => match &**func {
                Expr::Path(path) if path.path.segments.len() > 1 => {
                    path.path.segments.last().is_some_and(|last| {
                        last.ident == "matching" || last.ident.to_string().ends_with("_matching")
                    })
                }
                _ => false,
            },
            _ => false,
        }
    }
    matches!(call, Expr::MethodCall(_)) && begins(call)
}

/// The same, with arguments of the writer cloned.
fn names_cloned(call: &Expr, function: &Function) -> Expr {
    let mut call = call.clone();
    let mut next = &mut call;
    while let Expr::MethodCall(method) = next {
        for arg in &mut method.args {
            *arg = Expr::Verbatim(argument(arg, function));
        }
        next = &mut method.receiver;
    }
    call
}

/// `get_issue(id)` as `get_issue::key(id)`.
fn call_of_key(call: &Expr, function: &Function) -> Result<TokenStream> {
    let wrong = |at: &Expr| {
        Error::new_spanned(
            at,
            "this is no call of a cached function: write `get_issue(id)`, `self.analytics(range)` or `pattern = \"list_issues:*\"`",
        )
    };
    let args = |args: &syn::punctuated::Punctuated<Expr, Token![,]>| -> Vec<TokenStream> {
        args.iter().map(|arg| argument(arg, function)).collect()
    };
    match call {
        Expr::MethodCall(ExprMethodCall {
            receiver,
            method,
            turbofish,
            args: given,
            ..
        }) => {
            let key = format_ident!("{}_key", method.unraw(), span = method.span());
            let given = args(given);
            Ok(quote!(#receiver.#key #turbofish(#(#given),*)))
        }
        Expr::Call(ExprCall {
            func, args: given, ..
        }) => {
            let Expr::Path(path) = &**func else {
                return Err(wrong(func));
            };
            if path.qself.is_some() {
                return Err(wrong(func));
            }
            let mut path = path.path.clone();
            let mut given = args(given);
            let owner = path
                .segments
                .iter()
                .rev()
                .nth(1)
                .map(|segment| segment.ident.to_string());
            let Some(last) = path.segments.last_mut() else {
                return Err(wrong(func));
            };
            if owner.as_deref() == Some("Self") {
                last.ident = names::item(
                    &format!("__dexter_{}_target", last.ident.unraw()),
                    &last.ident,
                );
                given.insert(0, this(function));
            } else if owner.is_some_and(|owner| owner.starts_with(char::is_uppercase)) {
                last.ident = format_ident!("{}_key", last.ident.unraw(), span = last.ident.span());
            } else {
                let arguments = std::mem::replace(&mut last.arguments, PathArguments::None);
                let mut key: syn::PathSegment =
                    format_ident!("key", span = last.ident.span()).into();
                key.arguments = arguments;
                path.segments.push(key);
            }
            Ok(quote!(#path(#(#given),*)))
        }
        other => Err(wrong(other)),
    }
}

/// An argument of a target. A name stays for the body to take, so it is cloned.
fn argument(arg: &Expr, function: &Function) -> TokenStream {
    if let Expr::Path(path) = arg
        && let Some(name) = path.path.get_ident()
        && function
            .args
            .iter()
            .any(|arg| arg.bindings().contains(name))
    {
        let span = name.span().resolved_at(Span::mixed_site());
        return quote_spanned!(span=> ::core::clone::Clone::clone(&#name));
    }
    arg.to_token_stream()
}

/// What the target of a method is given for its `self`.
fn this(function: &Function) -> TokenStream {
    match function.receiver.as_ref().map(|receiver| &receiver.kind) {
        None => quote!(()),
        Some(ReceiverKind::Value) => quote!(&self),
        Some(_) => quote!(&*self),
    }
}

fn parse(input: ParseStream<'_>) -> Result<InvalidatesArgs> {
    let mut args = InvalidatesArgs::default();
    while !input.is_empty() {
        let is_option = input.peek(Ident::peek_any)
            && (input.peek2(Token![=]) || input.peek2(Token![,]) || is_last(input));
        if is_option {
            option(&mut args, input)?;
        } else {
            if !input.peek(Ident::peek_any) && !input.peek(Token![::]) && !input.peek(Token![<]) {
                return Err(input.error(
                    "this is nothing to invalidate: write a call of a cached function, `get_issue(id)`, or `pattern = \"list_issues:*\"`",
                ));
            }
            args.targets.push(Target::Call(input.parse()?));
        }
        if input.is_empty() {
            break;
        }
        if !input.peek(Token![,]) {
            return Err(input.error("something is left over here: write `,` between two targets"));
        }
        input.parse::<Token![,]>()?;
    }
    Ok(args)
}

fn is_last(input: ParseStream<'_>) -> bool {
    let fork = input.fork();
    fork.call(Ident::parse_any).is_ok() && fork.is_empty()
}

fn option(args: &mut InvalidatesArgs, input: ParseStream<'_>) -> Result<()> {
    let name = input.call(Ident::parse_any)?;
    match name.to_string().as_str() {
        "pattern" => args.targets.push(Target::Pattern(options::text(
            &name,
            input,
            "pattern = \"list_issues:*\"",
        )?)),
        "key" => args.targets.push(Target::Key(options::text(
            &name,
            input,
            "key = \"get_issue:id={id}\"",
        )?)),
        "before" => {
            once(&name, args.before.is_some())?;
            let (on, span) = options::flag(&name, input)?;
            args.before = on.then_some(span);
        }
        "always" => {
            once(&name, args.always.is_some())?;
            let (on, span) = options::flag(&name, input)?;
            args.always = on.then_some(span);
        }
        "if" => {
            once(&name, args.condition.is_some())?;
            options::equals(&name, input, "if = id > 0")?;
            args.condition = Some(input.parse()?);
        }
        "cache" => {
            once(&name, args.cache.is_some())?;
            options::equals(&name, input, "cache = self.cache")?;
            args.cache = Some(input.parse()?);
        }
        "crate" => args.krate = Some(options::krate(&name, input)?),
        text if input.peek(Token![=]) || options::is_later(text) => {
            return Err(options::unknown(&name, text, KNOWN));
        }
        text => {
            let message = format!(
                "`{text}` is not called here: write its arguments, `{text}(id)`, or all of it, `pattern = \"{text}:*\"`"
            );
            return Err(Error::new(name.span(), message));
        }
    }
    Ok(())
}

fn once(name: &Ident, given: bool) -> Result<()> {
    if given {
        let message = format!("`{name}` is given twice: write it once");
        return Err(Error::new(name.span(), message));
    }
    Ok(())
}
