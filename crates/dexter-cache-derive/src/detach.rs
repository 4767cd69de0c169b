//! Whether a load could go on without its caller, as far as the text of the function tells. Types decide the rest.

use proc_macro2::Span;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{
    Error, GenericParam, Lifetime, PathArguments, Type, TypeParamBound, TypeReference,
    WherePredicate,
};

use crate::names;
use crate::signature::{Body, Function, only_argument};

/// How an argument reaches a load that goes on without its caller.
pub(crate) enum Passing<'a> {
    /// It is moved.
    Moved,
    /// It is `&T`: cloned where that can be.
    Borrowed,
    /// It is `Option<&T>`: cloned where that can be.
    BorrowedOption,
    /// It holds a borrow that cannot be seen through.
    Held(&'a Type),
}

pub(crate) fn passing(ty: &Type) -> Passing<'_> {
    let (inner, passing) = match (ty, only_argument(ty, "Option")) {
        (
            Type::Reference(TypeReference {
                lifetime: None,
                mutability: None,
                elem,
                ..
            }),
            _,
        ) => (&**elem, Passing::Borrowed),
        (
            _,
            Some(Type::Reference(TypeReference {
                lifetime: None,
                mutability: None,
                elem,
                ..
            })),
        ) => (&**elem, Passing::BorrowedOption),
        _ => (ty, Passing::Moved),
    };
    if borrows(inner) {
        Passing::Held(ty)
    } else {
        passing
    }
}

/// What keeps the load inside of its caller, and what to do about it.
pub(crate) fn obstacle(function: &Function) -> Option<Error> {
    let sig = &function.sig;
    let error = |span: Span, message: &str| Some(Error::new(span, message));
    let Body::Async(block) = &function.body else {
        return error(
            sig.ident.span(),
            "a load in an `async_trait` method cannot be detached: leave `detach` out",
        );
    };
    for param in &sig.generics.params {
        match param {
            GenericParam::Lifetime(param) => {
                return error(
                    param.span(),
                    "a load that borrows by a named lifetime cannot be detached: leave `detach` out, or borrow by a plain `&`",
                );
            }
            GenericParam::Type(param) => {
                let bound = param.bounds.iter().any(is_static) || sig.generics.where_clause.iter().flat_map(|clause| &clause.predicates).any(|predicate| {
                    matches!(predicate, WherePredicate::Type(predicate)
                        if matches!(&predicate.bounded_ty, Type::Path(path) if path.path.is_ident(&param.ident)) && predicate.bounds.iter().any(is_static))
                });
                if !bound {
                    return error(
                        param.ident.span(),
                        "this type might borrow, so the load cannot be detached: write `'static` as one of its bounds, or leave `detach` out",
                    );
                }
            }
            GenericParam::Const(_) => {}
        }
    }
    if let Some(receiver) = &function.receiver
        && let syn::ReceiverKind::Reference(_, lifetime, mutability) = &receiver.kind
        && (lifetime.is_some() || mutability.is_some())
    {
        return error(
            receiver.span(),
            "only `&self`, `self` and `self: Arc<Self>` can be taken along by a detached load: leave `detach` out",
        );
    }
    for arg in &function.args {
        if let Passing::Held(ty) = passing(&arg.ty) {
            return error(
                ty.span(),
                "this argument might borrow, so the load cannot be detached: pass it owned, by `&T` or by `Option<&T>`, or leave `detach` out",
            );
        }
    }
    if borrows(&function.output) {
        return error(
            function.output.span(),
            "the result might borrow, so the load cannot be detached: leave `detach` out",
        );
    }
    if calls(block, function) {
        return error(
            sig.ident.span(),
            "a function that calls itself cannot be detached: leave `detach` out",
        );
    }
    None
}

fn calls(block: &syn::Block, function: &Function) -> bool {
    names::holds(block, &function.sig.ident)
}

fn is_static(bound: &TypeParamBound) -> bool {
    matches!(bound, TypeParamBound::Lifetime(lifetime) if lifetime.ident == "static")
}

/// Whether a type may hold a borrow that is shorter than the program.
fn borrows(ty: &Type) -> bool {
    let mut found = Borrows(false);
    found.visit_type(ty);
    found.0
}

struct Borrows(bool);

impl<'ast> Visit<'ast> for Borrows {
    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        self.0 |= lifetime.ident != "static";
    }

    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        self.0 |= reference.lifetime.is_none();
        visit::visit_type_reference(self, reference);
    }

    fn visit_type_impl_trait(&mut self, _: &'ast syn::TypeImplTrait) {
        self.0 = true;
    }

    fn visit_type_macro(&mut self, _: &'ast syn::TypeMacro) {
        self.0 = true;
    }

    fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
        // Types of `std` whose lifetime may go unwritten.
        const HIDING: &[&str] = &[
            "Cow",
            "Ref",
            "RefMut",
            "MutexGuard",
            "RwLockReadGuard",
            "RwLockWriteGuard",
            "Chars",
            "Iter",
            "Context",
        ];
        let written = match &segment.arguments {
            PathArguments::AngleBracketed(arguments) => arguments
                .args
                .iter()
                .any(|argument| matches!(argument, syn::GenericArgument::Lifetime(_))),
            _ => false,
        };
        self.0 |= !written && HIDING.iter().any(|name| segment.ident == name);
        visit::visit_path_segment(self, segment);
    }
}
