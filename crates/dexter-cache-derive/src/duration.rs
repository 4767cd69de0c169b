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
    /// What was written behind `name =`.
    pub(crate) fn new(name: &str, mut expr: Expr) -> Result<Self> {
        // What a macro was handed stands in an invisible group.
        while let Expr::Group(group) = expr {
            expr = *group.expr;
        }
        let span = expr.span();
        match &expr {
            Expr::Lit(ExprLit { lit, .. }) => Ok(Self::Fixed(literal(name, lit)?, span)),
            Expr::Unary(ExprUnary {
                op: UnOp::Neg(_),
                expr,
                ..
            }) if matches!(**expr, Expr::Lit(_)) => Err(Error::new(
                span,
                format!(
                    "{} cannot be negative: write the seconds, such as `{name} = 300`",
                    article(name)
                ),
            )),
            _ => Ok(Self::Expression(expr)),
        }
    }

    /// What is known of it before the program runs.
    pub(crate) fn fixed(&self) -> Option<Duration> {
        match self {
            Self::Fixed(duration, _) => Some(*duration),
            Self::Expression(_) => None,
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

fn article(name: &str) -> String {
    if name == "ttl" {
        "a `ttl`".to_owned()
    } else {
        format!("`{name}`")
    }
}

fn literal(name: &str, lit: &Lit) -> Result<Duration> {
    let (this, a) = (
        if name == "ttl" { "this `ttl`" } else { "this" },
        article(name),
    );
    let duration = match lit {
        Lit::Int(number) if !number.suffix().is_empty() => return Err(suffixed(name, number)),
        Lit::Int(seconds) => Duration::from_secs(seconds.base10_digits().parse().map_err(|_| {
            Error::new(
                lit.span(),
                format!("{this} is too long: write fewer seconds, such as `{name} = 86400`"),
            )
        })?),
        Lit::Str(text) => humantime::parse_duration(&text.value()).map_err(|error| {
            Error::new(
                lit.span(),
                format!("{this} is no duration ({error}): write it as in \"5m\", \"1h 30m\" or \"500ms\""),
            )
        })?,
        Lit::Float(_) => {
            return Err(Error::new(
                lit.span(),
                format!("{a} is whole seconds: write a number such as `300`, or a text such as \"1500ms\""),
            ));
        }
        _ => {
            return Err(Error::new(
                lit.span(),
                format!("this is no `{name}`: write seconds (`{name} = 300`), a text (`{name} = \"5m\"`) or a `Duration` expression"),
            ));
        }
    };
    if duration.is_zero() {
        let message = if name == "ttl" {
            "a `ttl` of zero would cache nothing: write how long a value may be used, such as `ttl = 300`".to_owned()
        } else {
            format!(
                "`{name}` of zero does nothing: leave it out, or write a time, such as `{name} = 300`"
            )
        };
        return Err(Error::new(lit.span(), message));
    }
    Ok(duration)
}

/// `5h` is a number to the compiler, of a type `h`.
fn suffixed(name: &str, number: &syn::LitInt) -> Error {
    let text = format!("{}{}", number.base10_digits(), number.suffix());
    let a = article(name);
    let message = if humantime::parse_duration(&text).is_ok() {
        format!(
            "{a} with a unit is a text: write it in quotes, `{name} = \"{text}\"`, or in plain seconds, such as `{name} = 300`"
        )
    } else {
        format!(
            "{a} is plain seconds: write `{name} = {}`, or a text such as `{name} = \"5m\"`",
            number.base10_digits()
        )
    };
    Error::new(number.span(), message)
}
