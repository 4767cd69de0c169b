//! Patterns of arguments: which names they bind, and how to look at the same parts through a reference.

use syn::visit_mut::{self, VisitMut};
use syn::{Error, FieldPat, Ident, Pat, PatIdent, PatWild, Result, Token};

/// The names that `pat` binds, in order.
pub(crate) fn bindings(pat: &Pat) -> Result<Vec<Ident>> {
    let mut names = Vec::new();
    collect(pat, &mut names)?;
    Ok(names)
}

fn collect(pat: &Pat, names: &mut Vec<Ident>) -> Result<()> {
    match pat {
        Pat::Ident(PatIdent {
            subpat: None,
            ident,
            ..
        }) => names.push(ident.clone()),
        Pat::Wild(_) | Pat::Rest(_) => {}
        Pat::Paren(inner) => collect(&inner.pat, names)?,
        Pat::Reference(inner) => collect(&inner.pat, names)?,
        Pat::Tuple(tuple) => tuple
            .elems
            .iter()
            .try_for_each(|elem| collect(elem, names))?,
        Pat::TupleStruct(tuple) => tuple
            .elems
            .iter()
            .try_for_each(|elem| collect(elem, names))?,
        Pat::Struct(fields) => fields
            .fields
            .iter()
            .try_for_each(|field| collect(&field.pat, names))?,
        Pat::Slice(slice) => slice
            .elems
            .iter()
            .try_for_each(|elem| collect(elem, names))?,
        other => {
            return Err(Error::new_spanned(
                other,
                "this pattern is not understood in an argument: give the argument a name, and take it apart in the body",
            ));
        }
    }
    Ok(())
}

/// `pat` for matching through a reference: binds only `names`, neither by value nor `mut`.
pub(crate) fn through_reference(pat: &Pat, names: &[Ident]) -> Pat {
    let mut pat = pat.clone();
    while let Pat::Reference(inner) = pat {
        pat = *inner.pat;
    }
    OnlyRefs(names).visit_pat_mut(&mut pat);
    pat
}

struct OnlyRefs<'a>(&'a [Ident]);

impl VisitMut for OnlyRefs<'_> {
    fn visit_field_pat_mut(&mut self, field: &mut FieldPat) {
        visit_mut::visit_field_pat_mut(self, field);
        // `Filter { status }` becomes `Filter { status: _ }`; one that is kept stays short, as lints want it.
        if !matches!(*field.pat, Pat::Ident(_)) {
            field.colon_token.get_or_insert_with(<Token![:]>::default);
        }
    }

    fn visit_pat_mut(&mut self, pat: &mut Pat) {
        // Nothing is bound by value, so a `&` within the pattern is looked through as the whole is.
        while let Pat::Reference(inner) = pat {
            *pat = (*inner.pat).clone();
        }
        if let Pat::Ident(binding) = pat {
            if self.0.contains(&binding.ident) {
                binding.by_ref = None;
                binding.mutability = None;
            } else {
                *pat = Pat::Wild(PatWild {
                    attrs: Vec::new(),
                    underscore_token: <Token![_]>::default(),
                });
            }
            return;
        }
        visit_mut::visit_pat_mut(self, pat);
    }
}
