//! Templates: text with `{argument}` in it.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Error, Expr, ExprField, ExprPath, Ident, LitStr, Result};

/// A template, taken apart.
pub(crate) struct Template {
    pieces: Vec<Piece>,
}

enum Piece {
    Literal(String),
    Value(Expr),
}

impl Template {
    /// `known` tells whether a placeholder may begin with this name; `example` is what the text could be.
    pub(crate) fn new(
        text: &LitStr,
        example: &str,
        known: impl Fn(&Ident) -> bool,
    ) -> Result<Self> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let value = text.value();
        let mut rest = value.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '{' | '}' if rest.peek() == Some(&c) => {
                    rest.next();
                    literal.push(c);
                }
                '{' => {
                    let mut name = String::new();
                    loop {
                        match rest.next() {
                            Some('}') => break,
                            Some(c) => name.push(c),
                            None => {
                                return Err(Error::new(
                                    text.span(),
                                    "a `{` is not closed: write `{name}`, or `{{` for the brace itself",
                                ));
                            }
                        }
                    }
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::Value(placeholder(&name, text, &known)?));
                }
                '}' => {
                    return Err(Error::new(
                        text.span(),
                        "a `}` closes nothing: write `}}` for the brace itself",
                    ));
                }
                c => literal.push(c),
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        if pieces.is_empty() {
            return Err(Error::new(
                text.span(),
                format!("this text is empty: write {example}"),
            ));
        }
        Ok(Self { pieces })
    }

    /// The names and fields in it, for finding arguments among them.
    pub(crate) fn mentioned(&self) -> TokenStream {
        self.pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Value(expr) => Some(quote!(#expr)),
                Piece::Literal(_) => None,
            })
            .collect()
    }

    /// An expression of type `Text`.
    pub(crate) fn tokens(&self, private: &TokenStream) -> TokenStream {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Literal(text) => quote!(.literal(#text)),
            Piece::Value(expr) => {
                let span = expr.span().resolved_at(Span::mixed_site());
                quote_spanned!(span=> .value(&#expr))
            }
        });
        quote!(#private::Text::new()#(#pieces)*)
    }
}

fn placeholder(name: &str, text: &LitStr, known: impl Fn(&Ident) -> bool) -> Result<Expr> {
    let wrong = || {
        let message = format!(
            "`{{{name}}}` is no placeholder: write the name of an argument, such as `{{id}}` or `{{filter.status}}`"
        );
        Error::new(text.span(), message)
    };
    let expr: Expr = LitStr::new(name, text.span())
        .parse()
        .map_err(|_| wrong())?;
    let root = root(&expr).ok_or_else(wrong)?;
    if !known(root) {
        let message = format!(
            "there is no argument `{root}` for `{{{name}}}`: write one of this function's, or `{{{{` for a brace"
        );
        return Err(Error::new(text.span(), message));
    }
    Ok(expr)
}

/// The name that a chain of fields begins with.
fn root(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Path(ExprPath {
            qself: None, path, ..
        }) => path.get_ident(),
        Expr::Field(ExprField { base, .. }) => root(base),
        _ => None,
    }
}
