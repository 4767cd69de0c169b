//! Which parts the key of a call has, and the tokens that write them.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Error, Expr, GenericParam, Ident, Result};

use crate::args::{CachedArgs, KeyArg};
use crate::pattern;
use crate::signature::Function;
use crate::{body, names};

/// The parts of a key, sorted by name.
pub(crate) struct Parts(Vec<Part>);

struct Part {
    name: String,
    value: Value,
}

enum Value {
    /// The argument of this index as a whole.
    Whole(usize),
    /// A name that the argument of this index is taken apart into.
    Binding(usize, Ident),
    Expression(Expr),
    /// The name of the type that this parameter stands for.
    TypeName(Ident),
    Const(Ident),
}

/// Where the value of a part comes from.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// The argument of this index, as it is.
    Arg(usize),
    /// The name of a type.
    TypeName(&'a Ident),
    /// Something of a type that is not written anywhere.
    Other(Span),
}

impl Source<'_> {
    pub(crate) fn span(self, function: &Function) -> Span {
        match self {
            Self::Arg(index) => function.args[index].ident.span(),
            Self::TypeName(name) => name.span(),
            Self::Other(span) => span,
        }
    }
}

impl Parts {
    pub(crate) fn new(function: &Function, args: &CachedArgs) -> Result<Self> {
        known(function, args)?;
        named(function, args)?;
        unchanged(function, args)?;
        let mut parts = Vec::new();
        for (index, arg) in function.args.iter().enumerate() {
            for binding in arg.bindings() {
                let given = args.key.iter().any(|part| part.name == *binding);
                if skipped(args, binding)
                    || (arg.parts.is_some() && skipped(args, &arg.ident))
                    || given
                {
                    continue;
                }
                let value = match arg.parts {
                    None => Value::Whole(index),
                    Some(_) => Value::Binding(index, binding.clone()),
                };
                parts.push(Part {
                    name: names::text(binding),
                    value,
                });
            }
        }
        for part in &args.key {
            parts.push(Part {
                name: names::text(&part.name),
                value: value(part, function)?,
            });
        }
        parts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self(parts))
    }

    /// The names of the parts, and where their values come from.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&str, Source<'_>)> {
        self.0.iter().map(|part| {
            let source = match &part.value {
                Value::Whole(index) => Source::Arg(*index),
                Value::Binding(_, name) | Value::Const(name) => Source::Other(name.span()),
                Value::Expression(expr) => Source::Other(expr.span()),
                Value::TypeName(name) => Source::TypeName(name),
            };
            (&*part.name, source)
        })
    }

    /// Whether the key needs the argument of this index.
    pub(crate) fn needs(&self, function: &Function, index: usize) -> bool {
        self.0.iter().any(|part| match &part.value {
            Value::Whole(of) | Value::Binding(of, _) => *of == index,
            Value::Expression(expr) => function.args[index]
                .bindings()
                .iter()
                .any(|name| names::mentions(expr, name)),
            Value::TypeName(_) | Value::Const(_) => false,
        })
    }

    /// All that the key mentions beside arguments, for finding type parameters in it.
    pub(crate) fn mentioned(&self) -> TokenStream {
        self.0
            .iter()
            .map(|part| match &part.value {
                Value::Whole(_) | Value::Binding(..) => TokenStream::new(),
                Value::Expression(expr) => expr.to_token_stream(),
                Value::TypeName(name) | Value::Const(name) => name.to_token_stream(),
            })
            .collect()
    }

    /// The closure that writes the parts. `this` stands where the user wrote `self`.
    pub(crate) fn closure(&self, function: &Function, private: &TokenStream) -> TokenStream {
        let out = names::local("key");
        let takes_apart = take_apart(function, |name| {
            self.0.iter().any(|part| match &part.value {
                Value::Binding(_, binding) => binding == name,
                Value::Expression(expr) => names::mentions(expr, name),
                _ => false,
            })
        });
        let parts = self.0.iter().map(|Part { name, value }| {
            let value = match value {
                Value::Whole(index) => {
                    let arg = &function.args[*index];
                    reference_at(&arg.ident, &arg.ty)
                }
                Value::Binding(index, binding) => {
                    let (_, end) = ends(&function.args[*index].pat);
                    let binding = Ident::new(&binding.to_string(), binding.span().located_at(end));
                    quote!(#binding)
                }
                Value::Expression(expr) => {
                    let span = expr.span().resolved_at(Span::mixed_site());
                    quote_spanned!(span=> &(#expr))
                }
                Value::TypeName(name) => quote!(::core::any::type_name::<#name>()),
                Value::Const(name) => quote!(&#name),
            };
            quote!(#out.part(#name, #value);)
        });
        let unused = self
            .0
            .is_empty()
            .then(|| quote!(let _: &mut #private::KeyBuilder = #out;));
        quote! {
            |#out: &mut #private::KeyBuilder| {
                #takes_apart
                #(#parts)*
                #unused
            }
        }
    }
}

/// Statements that give the names which arguments are taken apart into, by reference, as far as `used` wants them.
pub(crate) fn take_apart(function: &Function, used: impl Fn(&Ident) -> bool) -> TokenStream {
    let mut tokens = TokenStream::new();
    for arg in &function.args {
        let names: Vec<Ident> = arg
            .parts
            .iter()
            .flatten()
            .filter(|name| used(name))
            .cloned()
            .collect();
        if names.is_empty() {
            continue;
        }
        let pat = pattern::through_reference(&arg.pat, &names);
        let ident = &arg.ident;
        let by_reference = matches!(arg.pat, syn::Pat::Reference(_));
        let shadowing = body::shadowing();
        tokens.extend(if by_reference {
            quote!(#shadowing let #pat = #ident;)
        } else {
            quote!(#shadowing let #pat = &#ident;)
        });
    }
    tokens
}

/// `&name`, standing where `at` stands: an error about its type points there.
pub(crate) fn reference_at(name: &Ident, at: &impl ToTokens) -> TokenStream {
    let (start, end) = ends(at);
    let and = quote_spanned!(start.resolved_at(Span::mixed_site())=> &);
    let name = if *name == names::text(name) {
        Ident::new(&name.to_string(), name.span().located_at(end))
    } else {
        Ident::new_raw(&names::text(name), name.span().located_at(end))
    };
    quote!(#and #name)
}

/// `tokens`, standing where `at` begins.
pub(crate) fn standing_at(tokens: TokenStream, at: &impl ToTokens) -> TokenStream {
    let (first, _) = ends(at);
    let place = |mut token: TokenTree| {
        token.set_span(token.span().located_at(first));
        token
    };
    tokens.into_iter().map(place).collect()
}

/// The first and the last token's place.
pub(crate) fn ends(tokens: &impl ToTokens) -> (Span, Span) {
    let mut tokens = tokens.to_token_stream().into_iter();
    let Some(first) = tokens.next() else {
        return (Span::call_site(), Span::call_site());
    };
    let first = first.span();
    (first, tokens.last().map_or(first, |token| token.span()))
}

fn skipped(args: &CachedArgs, name: &Ident) -> bool {
    args.skip.contains(name)
}

fn value(part: &KeyArg, function: &Function) -> Result<Value> {
    if let Some(value) = &part.value {
        return Ok(Value::Expression(value.clone()));
    }
    for param in &function.sig.generics.params {
        match param {
            GenericParam::Type(param) if param.ident == part.name => {
                return Ok(Value::TypeName(part.name.clone()));
            }
            GenericParam::Const(param) if param.ident == part.name => {
                return Ok(Value::Const(part.name.clone()));
            }
            _ => {}
        }
    }
    let name = &part.name;
    let message = if function
        .args
        .iter()
        .any(|arg| arg.bindings().contains(name))
    {
        format!(
            "`{name}` is in the key already, as every argument is: leave it out here, or write `{name} = ..` to change it"
        )
    } else {
        format!("the part `{name}` has no value: write `key({name} = ..)`")
    };
    Err(Error::new(name.span(), message))
}

/// Every name under `skip` has to be one of the function's.
fn known(function: &Function, args: &CachedArgs) -> Result<()> {
    for name in &args.skip {
        let is_self = name == "self" && function.receiver.is_some();
        let is_arg = function
            .args
            .iter()
            .any(|arg| arg.ident == *name || arg.bindings().contains(name));
        let is_param = function
            .sig
            .generics
            .params
            .iter()
            .any(|param| match param {
                GenericParam::Type(param) => param.ident == *name,
                GenericParam::Const(param) => param.ident == *name,
                GenericParam::Lifetime(_) => false,
            });
        if !(is_self || is_arg || is_param) {
            let message =
                format!("there is no argument `{name}` to skip: write a name from the signature");
            return Err(Error::new(name.span(), message));
        }
        if args.key.iter().any(|part| part.name == *name) {
            return Err(Error::new(
                name.span(),
                format!("`{name}` is both in `key` and in `skip`: write it in one of them"),
            ));
        }
    }
    Ok(())
}

/// Nothing is changed through an argument: a hit would not do that.
fn unchanged(function: &Function, args: &CachedArgs) -> Result<()> {
    for arg in &function.args {
        let skipped = skipped(args, &arg.ident)
            || (!arg.bindings().is_empty()
                && arg.bindings().iter().all(|name| skipped(args, name)));
        let mut mutable = Mutable(None);
        mutable.visit_type(&arg.ty);
        if let Some(span) = mutable.0
            && !skipped
        {
            let name = arg.bindings().first().unwrap_or(&arg.ident);
            let message = format!(
                "what is changed through `&mut` stays as it was when the cache answers: return it as part of the result, or, where it is only a means such as a connection, write `skip({name})`"
            );
            return Err(Error::new(span, message));
        }
    }
    Ok(())
}

/// Where a type holds `&mut`.
struct Mutable(Option<Span>);

impl<'ast> Visit<'ast> for Mutable {
    fn visit_type_reference(&mut self, reference: &'ast syn::TypeReference) {
        if let Some(token) = &reference.mutability {
            self.0 = self.0.or(Some(token.span()));
        }
        visit::visit_type_reference(self, reference);
    }

    // What a function is given is its caller's.
    fn visit_parenthesized_generic_arguments(
        &mut self,
        _: &'ast syn::ParenthesizedGenericArguments,
    ) {
    }

    fn visit_type_fn_ptr(&mut self, _: &'ast syn::TypeFnPtr) {}
}

/// Whatever the result may depend on is named: in the key, or as skipped.
fn named(function: &Function, args: &CachedArgs) -> Result<()> {
    let in_key = |name: &str| {
        args.key.iter().any(|part| match &part.value {
            Some(value) => names::mentions_word(value, name),
            None => part.name == name,
        })
    };
    if let Some(receiver) = &function.receiver
        && !args.skip.iter().any(|name| name == "self")
        && !in_key("self")
    {
        let message = "`self` is not in the key: write what of it the result depends on, `key(organization = self.organization)`, or `skip(self)`";
        return Err(Error::new(receiver.self_token.span, message));
    }
    for param in &function.sig.generics.params {
        let ident = match param {
            GenericParam::Type(param) => &param.ident,
            GenericParam::Const(param) => &param.ident,
            GenericParam::Lifetime(_) => continue,
        };
        if !skipped(args, ident) && !in_key(&ident.to_string()) {
            let message = format!(
                "the parameter `{ident}` is not in the key: write `key({ident})` if the result depends on it, or `skip({ident})`"
            );
            return Err(Error::new(ident.span(), message));
        }
    }
    for arg in &function.args {
        if let syn::Pat::Wild(wild) = &arg.pat {
            let message = "an argument without a name cannot be in the key: give it one, such as `_user`, and if the result does not depend on it, write `skip(_user)`";
            return Err(Error::new_spanned(wild, message));
        }
    }
    Ok(())
}
