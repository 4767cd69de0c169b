//! The targets and options of `#[invalidates(..)]`: read, and made into expressions.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse::ParseStream;
use syn::spanned::Spanned as _;
use syn::{
    Error, Expr, ExprCall, ExprMethodCall, Ident, LitStr, Path, PathArguments, ReceiverKind,
    Result, Token,
};

use crate::signature::{Arg, Function};
use crate::template::Template;
use crate::{names, options};

const KNOWN: &[&str] = &[
    "tag", "pattern", "key", "before", "always", "if", "cache", "crate",
];

#[derive(Default)]
pub(crate) struct InvalidatesArgs {
    pub(crate) targets: Vec<Target>,
    pub(crate) before: Option<Span>,
    pub(crate) always: Option<Span>,
    pub(crate) condition: Option<Expr>,
    pub(crate) cache: Option<Expr>,
    pub(crate) krate: Option<Path>,
}

pub(crate) enum Target {
    /// A call, as of the cached function itself.
    Call(Expr),
    Tag(LitStr),
    Pattern(LitStr),
    Key(LitStr),
}

pub(crate) fn parse(input: ParseStream<'_>) -> Result<InvalidatesArgs> {
    let mut args = InvalidatesArgs::default();
    while !input.is_empty() {
        let is_option = input.peek(Ident::peek_any)
            && (input.peek(Token![if])
                || input.peek2(Token![=])
                || input.peek2(Token![,])
                || is_last(input));
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
        "tag" => args.targets.push(Target::Tag(options::text(
            &name,
            input,
            "tag = \"issue:{id}\"",
        )?)),
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
        text if input.peek(Token![=]) => {
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

/// The word `result` as it was written, with its place.
pub(crate) fn result_name(tokens: &TokenStream) -> Option<Ident> {
    tokens.clone().into_iter().find_map(|token| match token {
        proc_macro2::TokenTree::Ident(ident) if ident == "result" => Some(ident),
        proc_macro2::TokenTree::Group(group) => result_name(&group.stream()),
        _ => None,
    })
}

/// Where `tokens` name an argument.
pub(crate) fn named_in(tokens: &TokenStream, name: &Ident) -> Option<Span> {
    tokens.clone().into_iter().find_map(|token| match token {
        proc_macro2::TokenTree::Ident(ident) if ident == *name => Some(ident.span()),
        proc_macro2::TokenTree::Group(group) => named_in(&group.stream(), name),
        _ => None,
    })
}

/// A target as an expression, and what it needs.
pub(crate) struct Resolved {
    pub(crate) tokens: TokenStream,
    pub(crate) mentioned: TokenStream,
    pub(crate) uses_result: bool,
}

impl Resolved {
    pub(crate) fn new(target: &Target, function: &Function, private: &TokenStream) -> Result<Self> {
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
            Target::Tag(text) => {
                let template = Template::new(text, "a tag, such as \"issue:{id}\"", known)?;
                let text = template.tokens(private);
                (quote!(#targets.tag(#text);), template.mentioned())
            }
            Target::Pattern(text) => {
                let template = Template::new(text, "keys, such as \"list_issues:*\"", known)?;
                let text = template.tokens(private);
                (
                    quote!(#targets.pattern(#text.pattern());),
                    template.mentioned(),
                )
            }
            Target::Key(text) => {
                let template = Template::new(text, "a key, such as \"get_issue:id={id}\"", known)?;
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
pub(crate) fn uses_result(tokens: impl ToTokens, function: &Function) -> bool {
    let mut names = function.args.iter().flat_map(Arg::bindings);
    !names.any(|name| name == "result") && names::mentions_word(tokens, "result")
}

/// Whether this is `list_issues::matching()`, `list_issues::matching().project(id)`, or
/// `Self::analytics_matching().part("range", &range)`.
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
    match call {
        // A function may be called `find_matching`, so without a part only the companion of a free function counts.
        Expr::Call(ExprCall { func, args, .. }) => args.is_empty() && is_path_to_matching(func),
        Expr::MethodCall(_) => begins(call),
        _ => false,
    }
}

/// Whether this is `list_issues::matching`.
fn is_path_to_matching(func: &Expr) -> bool {
    matches!(func, Expr::Path(path) if path.path.segments.len() > 1
        && path.path.segments.last().is_some_and(|last| last.ident == "matching"))
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
            if is_path_to_matching(func)
                && let Some(first) = given.first()
            {
                let message = "`matching()` takes no arguments: name the parts behind it, `list_issues::matching().project(project)`; a cached function of that name is called without its path";
                return Err(Error::new_spanned(first, message));
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
    let this = function.this();
    match function.receiver.as_ref().map(|receiver| &receiver.kind) {
        None => quote!(()),
        Some(ReceiverKind::Value) => quote!(&#this),
        Some(_) => quote!(&*#this),
    }
}
