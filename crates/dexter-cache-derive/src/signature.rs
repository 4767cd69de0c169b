//! The annotated function: an `async fn`, or what `async_trait` makes of one.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote};
use syn::{
    AttrStyle, Attribute, Block, Error, Expr, FnArg, GenericArgument, GenericParam, Ident, ItemFn,
    Local, Pat, PatIdent, PatWild, PathArguments, Receiver, Result, ReturnType, Safety, Signature,
    Stmt, Token, Type, TypeParamBound, Visibility,
};

use crate::{names, pattern};

pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) receiver: Option<Receiver>,
    pub(crate) args: Vec<Arg>,
    /// What the caller gets once it has awaited.
    pub(crate) output: Type,
    pub(crate) body: Body,
}

/// An argument other than `self`.
pub(crate) struct Arg {
    /// Its name outside of the body: its own, or one made up where it is taken apart.
    pub(crate) ident: Ident,
    pub(crate) pat: Pat,
    pub(crate) ty: Type,
    /// The names it gives the body, other than its own.
    pub(crate) parts: Option<Vec<Ident>>,
}

pub(crate) enum Body {
    /// The body of an `async fn`.
    Async(Block),
    /// What `async_trait` put into `Box::pin(async move { .. })`.
    Boxed(Block),
}

impl Function {
    pub(crate) fn parse(item: TokenStream, attribute: &str) -> Result<Self> {
        let first = item
            .clone()
            .into_iter()
            .next()
            .map_or_else(Span::call_site, |token| token.span());
        let ItemFn {
            attrs,
            vis,
            sig,
            block,
            ..
        } = match syn::parse2(item.clone()) {
            Ok(item) => item,
            Err(error) => return Err(not_a_function(item, attribute, first).unwrap_or(error)),
        };
        if let Some(token) = &sig.constness {
            return Err(Error::new_spanned(
                token,
                format!("`#[{attribute}]` needs an `async fn`: remove `const`"),
            ));
        }
        if let Safety::Unsafe(token) = &sig.safety {
            let message = format!(
                "`#[{attribute}]` cannot keep the promises of an `unsafe fn`: annotate a safe function that calls it"
            );
            return Err(Error::new_spanned(token, message));
        }
        let Some((body, output)) = body(&sig, *block) else {
            let message = format!(
                "`#[{attribute}]` needs an async function: write `async fn {}`",
                sig.ident
            );
            return Err(Error::new_spanned(sig.fn_token, message));
        };
        if attribute == "cached"
            && let Some(again) = attrs.iter().find(|attr| is_named(attr, attribute))
        {
            let message =
                "this function is cached already: write one `#[cached(..)]` with all options";
            return Err(Error::new_spanned(again.path(), message));
        }
        let receiver = sig.receiver().cloned();
        let mut args = Vec::new();
        for (index, input) in sig.inputs.iter().enumerate() {
            if let FnArg::Typed(input) = input {
                args.push(Arg::new(index, input, &body)?);
            }
        }
        // Attributes inside of the body's braces are written before the function.
        let attrs = attrs
            .into_iter()
            .map(|mut attr| {
                attr.style = AttrStyle::Outer;
                attr
            })
            .collect();
        Ok(Self {
            attrs,
            vis,
            sig,
            receiver,
            args,
            output,
            body,
        })
    }

    /// The word `self` as the function's receiver has it: one that a macro was handed is not the macro's own.
    pub(crate) fn this(&self) -> Option<Token![self]> {
        self.receiver.as_ref().map(|receiver| receiver.self_token)
    }

    /// The signature as callers see it, with a name for every argument.
    pub(crate) fn outer_signature(&self) -> Signature {
        let mut sig = self.sig.clone();
        let mut args = self.args.iter();
        for input in &mut sig.inputs {
            if let FnArg::Typed(input) = input
                && let Some(arg) = args.next()
            {
                *input.pat = arg.plain();
            }
        }
        sig
    }

    /// `::<T, N>` for calling the function, or a copy of its body, from inside of it.
    pub(crate) fn turbofish(&self) -> TokenStream {
        let params = self
            .sig
            .generics
            .params
            .iter()
            .filter_map(|param| match param {
                GenericParam::Lifetime(_) => None,
                GenericParam::Type(param) => Some(param.ident.to_token_stream()),
                GenericParam::Const(param) => Some(param.ident.to_token_stream()),
            });
        let params: Vec<_> = params.collect();
        if params.is_empty() {
            TokenStream::new()
        } else {
            quote!(::<#(#params),*>)
        }
    }
}

impl Arg {
    fn new(index: usize, input: &syn::PatType, body: &Body) -> Result<Self> {
        if let Some(cfg) = input
            .attrs
            .iter()
            .find(|attr| attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr"))
        {
            let message = "an argument under `#[cfg]` cannot be looked through: write two functions, each under its own `#[cfg]`";
            return Err(Error::new_spanned(cfg, message));
        }
        let mut pat = (*input.pat).clone();
        if let (Body::Boxed(block), Pat::Ident(name)) = (body, &pat)
            && let Some(taken_apart) = taken_apart(block, &name.ident)
        {
            pat = taken_apart;
        }
        let whole = match &*input.pat {
            Pat::Ident(PatIdent {
                subpat: None,
                ident,
                ..
            }) => Some(ident.clone()),
            _ => None,
        };
        let parts = match &pat {
            Pat::Ident(PatIdent { subpat: None, .. }) => None,
            pat => Some(pattern::bindings(pat)?),
        };
        let ident = whole.unwrap_or_else(|| match parts.as_deref() {
            Some([only]) => only.clone(),
            _ => Ident::new(&format!("__arg{index}"), Span::mixed_site()),
        });
        Ok(Self {
            ident,
            pat,
            ty: ungrouped(&input.ty),
            parts,
        })
    }

    /// The argument's name as a pattern.
    pub(crate) fn plain(&self) -> Pat {
        plain(self.ident.clone())
    }

    /// `name: Type`.
    pub(crate) fn tokens(&self) -> TokenStream {
        let (ident, ty) = (&self.ident, &self.ty);
        quote!(#ident: #ty)
    }

    /// The names that the body knows it by.
    pub(crate) fn bindings(&self) -> &[Ident] {
        self.parts
            .as_deref()
            .unwrap_or(std::slice::from_ref(&self.ident))
    }
}

/// Whether an attribute is called so, by whatever path.
fn is_named(attr: &Attribute, name: &str) -> bool {
    let last = attr.path().segments.last();
    last.is_some_and(|last| last.ident == name)
}

/// A type without the invisible group around it, in which a macro hands it on.
fn ungrouped(ty: &Type) -> Type {
    match ty {
        Type::Group(group) => ungrouped(&group.elem),
        ty => ty.clone(),
    }
}

/// A name as a pattern.
pub(crate) fn plain(ident: Ident) -> Pat {
    Pat::Ident(PatIdent {
        attrs: Vec::new(),
        by_ref: None,
        mutability: None,
        ident,
        subpat: None,
    })
}

/// What was annotated in place of a function, where that can be told.
fn not_a_function(item: TokenStream, attribute: &str, first: Span) -> Option<Error> {
    if let Ok(function) = syn::parse2::<syn::TraitItemFn>(item.clone())
        && function.default.is_none()
    {
        let message =
            format!("`#[{attribute}]` needs a body: write it on the function in the `impl`");
        return Some(Error::new_spanned(function.semi_token, message));
    }
    let item: syn::Item = syn::parse2(item).ok()?;
    let (token, what) = match &item {
        syn::Item::Struct(item) => (item.struct_token.span, "a struct"),
        syn::Item::Enum(item) => (item.enum_token.span, "an enum"),
        syn::Item::Impl(item) => (item.impl_token.span, "an impl"),
        syn::Item::Mod(item) => (item.mod_token.span, "a module"),
        syn::Item::Trait(item) => (item.trait_token.span, "a trait"),
        _ => (first, "this"),
    };
    Some(Error::new(
        token,
        format!("`#[{attribute}]` cannot be on {what}: write it on an `async fn`"),
    ))
}

fn body(sig: &Signature, block: Block) -> Option<(Body, Type)> {
    if sig.asyncness.is_some() {
        let output = match &sig.output {
            ReturnType::Default => syn::parse_quote!(()),
            ReturnType::Type(_, ty) => ungrouped(ty),
        };
        return Some((Body::Async(block), output));
    }
    let ReturnType::Type(_, ty) = &sig.output else {
        return None;
    };
    let output = boxed_output(ty)?;
    let Some(Stmt::Expr(Expr::Call(call), None)) = block.stmts.into_iter().next_back() else {
        return None;
    };
    match call.args.into_iter().next()? {
        Expr::Async(inner) if inner.capture.is_some() => Some((Body::Boxed(inner.block), output)),
        _ => None,
    }
}

/// `R` of `Pin<Box<dyn Future<Output = R> + ..>>`.
fn boxed_output(ty: &Type) -> Option<Type> {
    let Type::TraitObject(object) = only_argument(only_argument(ty, "Pin")?, "Box")? else {
        return None;
    };
    object.bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else {
            return None;
        };
        let last = bound
            .path
            .segments
            .last()
            .filter(|last| last.ident == "Future")?;
        let PathArguments::AngleBracketed(arguments) = &last.arguments else {
            return None;
        };
        arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(assoc) if assoc.ident == "Output" => Some(assoc.ty.clone()),
            _ => None,
        })
    })
}

/// `T` of `name<T>`, whatever path leads to `name`.
pub(crate) fn only_argument<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let last = path
        .path
        .segments
        .last()
        .filter(|last| last.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    match arguments.args.first()? {
        GenericArgument::Type(ty) if arguments.args.len() == 1 => Some(ty),
        _ => None,
    }
}

/// The pattern that `async_trait` moved into the body: `let (a, b) = __arg1;`.
fn taken_apart(block: &Block, name: &Ident) -> Option<Pat> {
    if !names::text(name).starts_with("__arg") {
        return None;
    }
    block.stmts.iter().find_map(|stmt| {
        let Stmt::Local(Local {
            pat,
            init: Some(init),
            ..
        }) = stmt
        else {
            return None;
        };
        if !names::mentions(&init.expr, name) {
            return None;
        }
        Some(match pat {
            Pat::Ident(same) if same.ident == *name => Pat::Wild(PatWild {
                attrs: Vec::new(),
                underscore_token: Token![_](name.span()),
            }),
            pat => pat.clone(),
        })
    })
}
