//! A `#[cached]` function once everything that its text can get wrong has been looked at.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::visit::Visit;
use syn::{Error, GenericArgument, GenericParam, Ident, Path, PathArguments, Result, Type};

use crate::args::{CachedArgs, Companion};
use crate::detach;
use crate::key::Parts;
use crate::names;
use crate::signature::{Body, Function};
use crate::template::Template;

pub(crate) struct Model {
    pub(crate) function: Function,
    pub(crate) args: CachedArgs,
    pub(crate) parts: Parts,
    pub(crate) tags: Vec<Template>,
    pub(crate) place: Place,
    pub(crate) load: Load,
    /// The name of the companions, unless there are none.
    pub(crate) companion: Option<Ident>,
    /// `::dexter_cache::__private`
    pub(crate) private: TokenStream,
}

/// Where the function stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Free,
    /// In an `impl`, with `self`.
    Method,
    /// In an `impl`, without it.
    Associated,
}

/// Where the body goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// It stays where it is: the load ends with its caller.
    InPlace,
    /// Into a function inside of this one, so that types can tell whether the load may be detached.
    Inner,
    /// Into a function beside this one, for the same reason.
    Beside,
}

impl Model {
    pub(crate) fn new(options: TokenStream, item: TokenStream) -> Result<Self> {
        let args = CachedArgs::parse(options)?;
        let function = Function::parse(item, "cached")?;
        output(&function)?;
        let place = place(&function, &args)?;
        if args.ttl.is_none() {
            return Err(Error::new(
                Span::call_site(),
                "`ttl` is missing: write how long a value may be used, `#[cached(ttl = 300)]` in seconds or `#[cached(ttl = \"5m\")]`",
            ));
        }
        args.lives.check()?;
        if args.prefix.is_none() && place != Place::Free {
            return Err(Error::new(
                function.sig.ident.span(),
                format!(
                    "a method has no prefix of its own: write `prefix = \"{}\"`",
                    names::text(&function.sig.ident)
                ),
            ));
        }
        let parts = Parts::new(&function, &args)?;
        let tags = tags(&function, &args)?;
        let load = load(&function, &args, place)?;
        let companion = match (&args.companion, &function.body) {
            (Companion::None, _) | (_, Body::Boxed(_)) => None,
            (Companion::Named(name), _) => Some(name.clone()),
            (Companion::Default, _) => Some(names::item(
                &names::text(&function.sig.ident),
                &function.sig.ident,
            )),
        };
        let private = private(args.krate.as_ref());
        Ok(Self {
            function,
            args,
            parts,
            tags,
            place,
            load,
            companion,
            private,
        })
    }

    /// A name beside the function, for code that is not to be called by the user.
    pub(crate) fn beside(&self, what: &str) -> Ident {
        let name = names::text(&self.function.sig.ident);
        names::item(&format!("__dexter_{name}_{what}"), &self.function.sig.ident)
    }
}

pub(crate) fn private(krate: Option<&Path>) -> TokenStream {
    if let Some(path) = krate {
        quote!(#path::__private)
    } else {
        quote!(::dexter_cache::__private)
    }
}

/// What the function returns can be told, and kept.
fn output(function: &Function) -> Result<()> {
    let ty = &function.output;
    let mut unkept = Unkept(None);
    unkept.visit_type(ty);
    if let Some(error) = unkept.0 {
        return Err(error);
    }
    match ty {
        Type::Path(path) => {
            let param = function
                .sig
                .generics
                .params
                .iter()
                .find_map(|param| match param {
                    GenericParam::Type(param) if path.path.is_ident(&param.ident) => {
                        Some(&param.ident)
                    }
                    _ => None,
                });
            match param {
                Some(name) => Err(Error::new_spanned(
                    ty,
                    format!(
                        "with a result of any type `{name}` it cannot be told whether that is a `Result`: write `Option<{name}>` or `Result<{name}, E>`"
                    ),
                )),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// What no cache can keep of a type, as far as it is written there.
struct Unkept(Option<Error>);

impl Unkept {
    fn say(&mut self, at: impl ToTokens, message: &str) {
        self.0
            .get_or_insert_with(|| Error::new_spanned(at, message));
    }
}

impl<'ast> Visit<'ast> for Unkept {
    fn visit_type_impl_trait(&mut self, ty: &'ast syn::TypeImplTrait) {
        self.say(
            ty,
            "a result of an unnamed type cannot be cached: write the type in place of `impl ..`",
        );
    }

    fn visit_type_reference(&mut self, ty: &'ast syn::TypeReference) {
        let lifetime = ty.lifetime.as_ref();
        if lifetime.is_none_or(|lifetime| lifetime.ident != "static") {
            self.say(
                ty,
                "a borrowed result cannot be cached: return it owned, such as `String` or `Arc<T>`",
            );
        }
    }

    fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
        let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
            return;
        };
        // An error is not kept, so it may borrow.
        let kept = if segment.ident == "Result" {
            1
        } else {
            usize::MAX
        };
        let types = arguments.args.iter().filter_map(|argument| match argument {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        });
        types.take(kept).for_each(|ty| self.visit_type(ty));
    }

    // What they are given is their caller's.
    fn visit_type_fn_ptr(&mut self, _: &'ast syn::TypeFnPtr) {}

    // Its bounds are no types that are kept.
    fn visit_type_trait_object(&mut self, _: &'ast syn::TypeTraitObject) {}
}

/// What is filled into a tag is known before the function runs.
fn tags(function: &Function, args: &CachedArgs) -> Result<Vec<Template>> {
    let known = |name: &Ident| {
        (name == "self" && function.receiver.is_some())
            || function
                .args
                .iter()
                .any(|arg| arg.bindings().contains(name))
    };
    let example = "a tag, such as \"issue:{id}\"";
    let tags = args.tags.iter();
    tags.map(|tag| Template::new(tag, example, known)).collect()
}

fn place(function: &Function, args: &CachedArgs) -> Result<Place> {
    if function.receiver.is_some() {
        return match args.assoc {
            Some(span) => Err(Error::new(
                span,
                "`assoc` is for functions without `self`: leave it out",
            )),
            None => Ok(Place::Method),
        };
    }
    if args.assoc.is_some() || matches!(function.body, Body::Boxed(_)) {
        return Ok(Place::Associated);
    }
    let block = match &function.body {
        Body::Async(block) | Body::Boxed(block) => block,
    };
    if names::mentions_word(function.sig.to_token_stream(), "Self") || names::says_self(block) {
        return Err(Error::new(
            function.sig.ident.span(),
            "this looks like a function inside of an `impl`, where a companion cannot stand beside it: write `#[cached(assoc, ..)]`",
        ));
    }
    Ok(Place::Free)
}

fn load(function: &Function, args: &CachedArgs, place: Place) -> Result<Load> {
    // An attribute on a method does not see the generics of the `impl`, and there is no asking a type whether it is
    // `'static`: a detached load in `impl<T> Repository<T>` would not compile. So methods have to ask for it.
    let needed = args.lives.detached();
    let wanted = args
        .detach
        .map_or(place == Place::Free || needed.is_some(), |(wanted, _)| {
            wanted
        });
    if let (false, Some(option)) = (wanted, needed) {
        let message = format!(
            "`{option}` needs a load that goes on without its caller: leave `detach = false` out, or `{option}`"
        );
        return Err(Error::new(option.span(), message));
    }
    if !wanted {
        return Ok(Load::InPlace);
    }
    match (detach::obstacle(function), needed) {
        (Some(obstacle), None) if args.detach.is_some() => Err(obstacle),
        (Some(obstacle), Some(option)) => {
            let why = obstacle
                .to_string()
                .replace("leave `detach` out", &format!("leave `{option}` out"));
            let message =
                format!("`{option}` needs a load that goes on without its caller, and {why}");
            Err(Error::new(option.span(), message))
        }
        (Some(_), None) => Ok(Load::InPlace),
        (None, _) if place == Place::Free => Ok(Load::Inner),
        (None, _) => Ok(Load::Beside),
    }
}
