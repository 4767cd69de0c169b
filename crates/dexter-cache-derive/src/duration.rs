//! Times to live: seconds, a text, or an expression.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote_spanned;
use syn::spanned::Spanned as _;
use syn::{Error, Expr, ExprLit, ExprUnary, Lit, Result, UnOp};

/// What was written behind `ttl =`.
pub(crate) enum Ttl {
    Fixed(Duration, proc_macro2::Span),
    Expression(Expr),
}

impl Ttl {
    pub(crate) fn new(expr: Expr) -> Result<Self> {
        let span = expr.span();
        match &expr {
            Expr::Lit(ExprLit { lit, .. }) => Ok(Self::Fixed(literal(lit)?, span)),
            Expr::Unary(ExprUnary {
                op: UnOp::Neg(_),
                expr,
                ..
            }) if matches!(**expr, Expr::Lit(_)) => Err(Error::new(
                span,
                "a `ttl` cannot be negative: write the seconds, such as `ttl = 300`",
            )),
            _ => Ok(Self::Expression(expr)),
        }
    }

    /// As an expression of type `Ttl`.
    pub(crate) fn tokens(&self, private: &TokenStream) -> TokenStream {
        match self {
            Self::Fixed(duration, span) => {
                let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
                let span = span.resolved_at(proc_macro2::Span::mixed_site());
                quote_spanned!(span=> #private::ttl(::core::time::Duration::new(#seconds, #nanos)))
            }
            Self::Expression(expr) => {
                let span = expr.span().resolved_at(proc_macro2::Span::mixed_site());
                quote_spanned!(span=> #private::ttl(#expr))
            }
        }
    }
}

fn literal(lit: &Lit) -> Result<Duration> {
    let duration = match lit {
        Lit::Int(number) if !number.suffix().is_empty() => return Err(suffixed(number)),
        Lit::Int(seconds) => Duration::from_secs(
            seconds
                .base10_digits()
                .parse()
                .map_err(|_| Error::new(lit.span(), "this `ttl` is too long: write fewer seconds, such as `ttl = 86400`"))?,
        ),
        Lit::Str(text) => humantime::parse_duration(&text.value()).map_err(|error| {
            Error::new(
                lit.span(),
                format!("this `ttl` is no duration ({error}): write it as in \"5m\", \"1h 30m\" or \"500ms\""),
            )
        })?,
        Lit::Float(_) => {
            return Err(Error::new(
                lit.span(),
                "a `ttl` is whole seconds: write a number such as `300`, or a text such as \"1500ms\"",
            ));
        }
        _ => {
            return Err(Error::new(
                lit.span(),
                "this is no `ttl`: write seconds (`ttl = 300`), a text (`ttl = \"5m\"`) or a `Duration` expression",
            ));
        }
    };
    if duration.is_zero() {
        return Err(Error::new(
            lit.span(),
            "a `ttl` of zero would cache nothing: write how long a value may be used, such as `ttl = 300`",
        ));
    }
    Ok(duration)
}

/// `5h` is a number to the compiler, of a type `h`.
fn suffixed(number: &syn::LitInt) -> Error {
    let text = format!("{}{}", number.base10_digits(), number.suffix());
    let message = if humantime::parse_duration(&text).is_ok() {
        format!(
            "a `ttl` with a unit is a text: write it in quotes, `ttl = \"{text}\"`, or in plain seconds, such as `ttl = 300`"
        )
    } else {
        format!(
            "a `ttl` is plain seconds: write `ttl = {}`, or a text such as `ttl = \"5m\"`",
            number.base10_digits()
        )
    };
    Error::new(number.span(), message)
}
