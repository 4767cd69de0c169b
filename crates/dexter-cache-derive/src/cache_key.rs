//! `#[derive(CacheKey)]`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::visit_mut::VisitMut;
use syn::{
    Attribute, Data, DeriveInput, Error, Fields, GenericParam, Ident, Lifetime, LitStr, Path,
    Result, Type, Variant, parse_quote,
};

use crate::case::Case;
use crate::key::ends;
use crate::model::private;
use crate::names;

pub(crate) fn expand(item: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(item)?;
    let on_type = Attributes::of(&input.attrs, &["rename_all", "crate"])?;
    let private = private(on_type.krate.as_ref());
    let out = names::local("out");
    let mut used = TokenStream::new();
    let mut told = Told::default();
    let write = match &input.data {
        Data::Struct(data) => fields(
            &data.fields,
            on_type.rename_all,
            &out,
            &mut used,
            &mut told,
            &Access::Field,
        )?,
        Data::Enum(data) => {
            let mut taken = Vec::new();
            let mut arms = TokenStream::new();
            for variant in &data.variants {
                arms.extend(self::variant(
                    variant,
                    on_type.rename_all,
                    &out,
                    &mut used,
                    &mut told,
                    &mut taken,
                )?);
            }
            if data.variants.is_empty() {
                quote!(match *self {})
            } else {
                quote!(match self { #arms })
            }
        }
        Data::Union(data) => {
            return Err(Error::new(
                data.union_token.span,
                "it cannot be told what a union holds: write `impl CacheKey` by hand, or use an enum",
            ));
        }
    };
    let mut generics = input.generics.clone();
    for param in &mut generics.params {
        if let GenericParam::Type(param) = param
            && names::mentions(&used, &param.ident)
        {
            param.bounds.push(parse_quote!(#private::CacheKey));
        }
    }
    let (with_bounds, _, clause) = generics.split_for_impl();
    let (_, arguments, _) = input.generics.split_for_impl();
    let name = &input.ident;
    let names = told.names(&private);
    let checks = told.checks(&private);
    // A constant beside the type is evaluated wherever the type is compiled; one that types go into, where the key is
    // written.
    let params = &mut input.generics.params.iter();
    let (beside, within) = if checks.is_empty() {
        (None, None)
    } else if params.all(|param| matches!(param, GenericParam::Lifetime(_))) {
        (Some(quote!(const _: () = { #checks };)), None)
    } else {
        (None, Some(quote!(const { #checks })))
    };
    let (own_params, _, own_clause) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #with_bounds #private::CacheKey for #name #arguments #clause {
            fn write_key(&self, #out: &mut #private::KeyWriter<'_>) {
                let _: &mut #private::KeyWriter<'_> = #out;
                #within
                #write
            }
        }

        #[automatically_derived]
        #[doc(hidden)]
        impl #own_params #private::fields::Fields for #name #arguments #own_clause {
            const NAMES: #private::fields::Names = #names;
        }

        #beside
    })
}

/// The names that are known of a type, for finding those that flattening would write twice.
#[derive(Default)]
struct Told {
    own: Vec<String>,
    flattened: Vec<Type>,
    /// What is written together: the fields of a struct, or of one variant.
    groups: Vec<Group>,
}

struct Group {
    own: Vec<String>,
    flattened: Vec<Type>,
    at: Span,
}

impl Told {
    fn group(&mut self, own: &[(String, TokenStream)], flattened: Vec<Type>, at: Option<Span>) {
        let own: Vec<_> = own.iter().map(|(name, _)| name.clone()).collect();
        self.own.extend(own.iter().cloned());
        self.flattened.extend(flattened.iter().cloned());
        self.groups
            .extend(at.map(|at| Group { own, flattened, at }));
    }

    fn names(&self, private: &TokenStream) -> TokenStream {
        let (own, flattened) = (&self.own, &self.flattened);
        let untold = (!flattened.is_empty()).then(|| quote!(use #private::fields::Untold as _;));
        quote!({
            #untold
            #private::fields::Names(&[#(#own),*], &[#(#private::fields::Of::<#flattened>::NAMES),*])
        })
    }

    fn checks(&self, private: &TokenStream) -> TokenStream {
        let groups = self.groups.iter().map(|Group { own, flattened, at }| {
            // Names are the same for all lifetimes, and a constant has none of its own.
            let mut flattened = flattened.clone();
            for ty in &mut flattened {
                AllStatic.visit_type_mut(ty);
            }
            let at = at.resolved_at(Span::mixed_site());
            quote_spanned!(at=> {
                use #private::fields::Untold as _;
                #private::fields::check(&[#(#own),*], &[#(#private::fields::Of::<#flattened>::NAMES),*]);
            })
        });
        groups.collect()
    }
}

struct AllStatic;

impl VisitMut for AllStatic {
    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        lifetime.ident = Ident::new("static", lifetime.ident.span());
    }
}

/// How a field is reached.
enum Access {
    /// `&self.name`
    Field,
    /// A name that a match arm binds.
    Binding,
}

fn fields(
    fields: &Fields,
    rename_all: Option<Case>,
    out: &Ident,
    used: &mut TokenStream,
    told: &mut Told,
    access: &Access,
) -> Result<TokenStream> {
    // A struct around one value is that value.
    if let (Fields::Unnamed(only), Access::Field) = (fields, access)
        && only.unnamed.len() == 1
    {
        let field = &only.unnamed[0];
        let attributes = Attributes::of(&field.attrs, &["skip", "rename", "flatten"])?;
        if attributes.is_empty() {
            used.extend(field.ty.to_token_stream());
            told.flattened.push(field.ty.clone());
            let value = at_type(&quote!(self.0), &field.ty);
            return Ok(quote!(#out.flatten(#value);));
        }
    }
    let mut written: Vec<(String, TokenStream)> = Vec::new();
    let mut flattened = TokenStream::new();
    let (mut flattened_types, mut flattened_at) = (Vec::new(), None);
    for (index, field) in fields.iter().enumerate() {
        let attributes = Attributes::of(&field.attrs, &["skip", "rename", "flatten"])?;
        attributes.contradictions()?;
        if attributes.skip.is_some() {
            continue;
        }
        used.extend(field.ty.to_token_stream());
        let value = match access {
            Access::Field => {
                let member = field.ident.as_ref().map_or_else(
                    || syn::Index::from(index).to_token_stream(),
                    Ident::to_token_stream,
                );
                at_type(&quote!(self.#member), &field.ty)
            }
            Access::Binding => {
                let (_, end) = ends(&field.ty);
                let binding = Ident::new(
                    &format!("__field{index}"),
                    Span::mixed_site().located_at(end),
                );
                quote!(#binding)
            }
        };
        if let Some(span) = attributes.flatten {
            flattened_types.push(field.ty.clone());
            flattened_at = flattened_at.or(Some(span));
            flattened.extend(quote!(#out.flatten(#value);));
            continue;
        }
        let (name, at) = match (&attributes.rename, &field.ident) {
            (Some(rename), _) => (rename.value(), rename.span()),
            (None, Some(ident)) => {
                let text = names::text(ident);
                (
                    rename_all.map_or(text.clone(), |case| case.of_field(&text)),
                    ident.span(),
                )
            }
            (None, None) => (index.to_string(), field.span()),
        };
        if written.iter().any(|(other, _)| *other == name) {
            return Err(Error::new(
                at,
                format!(
                    "two fields are called `{name}` in the key: write `#[cache_key(rename = \"..\")]` with another name on one of them"
                ),
            ));
        }
        written.push((name.clone(), quote!(#out.field(#name, #value);)));
    }
    told.group(&written, flattened_types, flattened_at);
    // In order, so that the key need not be sorted.
    written.sort_by(|a, b| a.0.cmp(&b.0));
    let written = written.into_iter().map(|(_, tokens)| tokens);
    Ok(quote!(#(#written)* #flattened))
}

fn variant(
    variant: &Variant,
    rename_all: Option<Case>,
    out: &Ident,
    used: &mut TokenStream,
    told: &mut Told,
    taken: &mut Vec<String>,
) -> Result<TokenStream> {
    let attributes = Attributes::of(&variant.attrs, &["rename", "rename_all"])?;
    let ident = &variant.ident;
    let (name, at) = if let Some(rename) = &attributes.rename {
        (rename.value(), rename.span())
    } else {
        let text = names::text(ident);
        (
            rename_all.map_or(text.clone(), |case| case.of_variant(&text)),
            ident.span(),
        )
    };
    if taken.contains(&name) {
        return Err(Error::new(
            at,
            format!(
                "two variants are called `{name}` in the key: write `#[cache_key(rename = \"..\")]` with another name on one of them"
            ),
        ));
    }
    taken.push(name.clone());
    let write = fields(
        &variant.fields,
        attributes.rename_all,
        out,
        used,
        told,
        &Access::Binding,
    )?;
    let mut skipped = Vec::new();
    for field in &variant.fields {
        skipped.push(
            Attributes::of(&field.attrs, &["skip", "rename", "flatten"])?
                .skip
                .is_some(),
        );
    }
    let members = variant.fields.iter().enumerate().map(|(index, field)| {
        let member = field.ident.as_ref().map_or_else(
            || syn::Index::from(index).to_token_stream(),
            Ident::to_token_stream,
        );
        if skipped[index] {
            return quote!(#member: _);
        }
        let binding = format_ident!("__field{index}", span = Span::mixed_site());
        quote!(#member: #binding)
    });
    Ok(quote! {
        Self::#ident { #(#members),* } => {
            #out.text(#name);
            #write
        }
    })
}

/// `&value`, for errors that point at its type.
fn at_type(value: &TokenStream, ty: &Type) -> TokenStream {
    let (start, end) = ends(ty);
    let and = quote::quote_spanned!(start.resolved_at(Span::mixed_site())=> &);
    let value = value.clone().into_iter().map(|mut token| {
        token.set_span(token.span().located_at(end));
        token
    });
    let value: TokenStream = value.collect();
    quote!(#and #value)
}

#[derive(Default)]
struct Attributes {
    rename: Option<LitStr>,
    rename_all: Option<Case>,
    skip: Option<Span>,
    flatten: Option<Span>,
    krate: Option<Path>,
}

impl Attributes {
    fn of(attrs: &[Attribute], known: &[&str]) -> Result<Self> {
        let mut found = Self::default();
        for attr in attrs
            .iter()
            .filter(|attr| attr.path().is_ident("cache_key"))
        {
            let parse = |input: syn::parse::ParseStream<'_>| {
                crate::options::each(input, known, |name, input| {
                    match names::text(name).as_str() {
                        "rename" => {
                            let text = crate::options::text(name, input, "rename = \"status\"")?;
                            if text.value().is_empty() {
                                return Err(Error::new(
                                    text.span(),
                                    "a name cannot be empty: write `rename = \"status\"`",
                                ));
                            }
                            found.rename = Some(text);
                        }
                        "rename_all" => {
                            let text =
                                crate::options::text(name, input, "rename_all = \"snake_case\"")?;
                            found.rename_all = Some(Case::parse(&text)?);
                        }
                        "skip" => found.skip = Some(name.span()),
                        "flatten" => found.flatten = Some(name.span()),
                        _ => found.krate = Some(crate::options::krate(name, input)?),
                    }
                    Ok(())
                })
            };
            attr.parse_args_with(parse)?;
        }
        Ok(found)
    }

    fn is_empty(&self) -> bool {
        self.rename.is_none() && self.skip.is_none() && self.flatten.is_none()
    }

    fn contradictions(&self) -> Result<()> {
        match (self.skip, self.flatten, &self.rename) {
            (Some(span), Some(_), _) | (Some(span), _, Some(_)) => Err(Error::new(
                span,
                "a field that is skipped has no name in the key: write `skip` alone",
            )),
            (None, Some(span), Some(_)) => Err(Error::new(
                span,
                "a flattened field has no name of its own: write either `flatten` or `rename`",
            )),
            _ => Ok(()),
        }
    }
}
