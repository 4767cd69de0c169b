//! The options of `#[cached(..)]`, each valid by itself.

use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, Ident, LitInt, LitStr, Path, Result, Token, parenthesized};

use crate::duration::Ttl;
use crate::lives::Lives;
use crate::{names, options};

const KNOWN: &[&str] = &[
    "ttl",
    "prefix",
    "tags",
    "stale",
    "throttle",
    "refresh_ahead",
    "soft_timeout",
    "hard_timeout",
    "none_ttl",
    "cache",
    "key",
    "skip",
    "version",
    "local",
    "companion",
    "assoc",
    "detach",
    "crate",
];

#[derive(Default)]
pub(crate) struct CachedArgs {
    pub(crate) ttl: Option<Ttl>,
    pub(crate) prefix: Option<LitStr>,
    pub(crate) tags: Vec<LitStr>,
    pub(crate) lives: Lives,
    pub(crate) cache: Option<Expr>,
    pub(crate) key: Vec<KeyArg>,
    pub(crate) skip: Vec<Ident>,
    pub(crate) version: Option<u32>,
    pub(crate) local: bool,
    pub(crate) companion: Companion,
    pub(crate) assoc: Option<Span>,
    pub(crate) detach: Option<(bool, Span)>,
    pub(crate) krate: Option<Path>,
}

/// `name = value`, or `NAME` alone for a type or const parameter.
pub(crate) struct KeyArg {
    pub(crate) name: Ident,
    pub(crate) value: Option<Expr>,
}

#[derive(Default)]
pub(crate) enum Companion {
    #[default]
    Default,
    Named(Ident),
    None,
}

impl CachedArgs {
    pub(crate) fn parse(tokens: TokenStream) -> Result<Self> {
        let args = (|input: ParseStream<'_>| {
            let mut args = Self::default();
            options::each(input, KNOWN, |name, input| args.option(name, input))?;
            Ok(args)
        })
        .parse2(tokens)?;
        Ok(args)
    }

    fn option(&mut self, name: &Ident, input: ParseStream<'_>) -> Result<()> {
        match names::text(name).as_str() {
            "ttl" => {
                options::equals(name, input, "ttl = 300")?;
                self.ttl = Some(Ttl::new("ttl", input.parse()?)?);
            }
            "stale" | "throttle" | "refresh_ahead" | "soft_timeout" | "hard_timeout"
            | "none_ttl" => {
                self.lives.option(name, input)?;
            }
            "prefix" => {
                self.prefix = Some(prefix(options::text(
                    name,
                    input,
                    "prefix = \"get_issue\"",
                )?)?);
            }
            "tags" => self.tags = tags(name, input)?,
            "cache" => {
                options::equals(name, input, "cache = self.cache")?;
                self.cache = Some(input.parse()?);
            }
            "key" => self.key = key(name, input)?,
            "skip" => self.skip = skip(name, input)?,
            "version" => self.version = Some(version(name, input)?),
            "local" => self.local = options::flag(name, input)?.0,
            "companion" => self.companion = companion(name, input)?,
            "assoc" => {
                self.assoc = options::flag(name, input).map(|(on, span)| on.then_some(span))?;
            }
            "detach" => self.detach = Some(options::flag(name, input)?),
            "crate" => self.krate = Some(options::krate(name, input)?),
            other => {
                return Err(Error::new(
                    name.span(),
                    format!("there is no option `{other}`"),
                ));
            }
        }
        Ok(())
    }
}

fn prefix(prefix: LitStr) -> Result<LitStr> {
    let text = prefix.value();
    let reserved = |c: char| c.is_control() || c.is_whitespace() || "%&=,:*?[]\\^{}".contains(c);
    let wrong = if text.is_empty() {
        "a prefix cannot be empty".to_owned()
    } else if text == "dexter-cache" {
        "the prefix `dexter-cache` is the library's own".to_owned()
    } else if let Some(c) = text.chars().find(|c| reserved(*c)) {
        format!("a prefix cannot hold `{}`", c.escape_debug())
    } else {
        return Ok(prefix);
    };
    Err(Error::new(
        prefix.span(),
        format!(
            "{wrong}: write a name such as \"get_issue\", of letters, digits, `_`, `-`, `.`, `/`"
        ),
    ))
}

/// `tags = ["issue:{id}", ..]`.
fn tags(name: &Ident, input: ParseStream<'_>) -> Result<Vec<LitStr>> {
    const EXAMPLE: &str = "tags = [\"issue:{id}\"]";
    options::equals(name, input, EXAMPLE)?;
    if !input.peek(syn::token::Bracket) {
        return Err(input.error(format!("`tags` is a list in brackets: write `{EXAMPLE}`")));
    }
    let content;
    let bracket = syn::bracketed!(content in input);
    if content.is_empty() {
        return Err(Error::new(
            bracket.span.join(),
            format!("`tags` lists nothing: write `{EXAMPLE}`, or leave it out"),
        ));
    }
    let tags = Punctuated::<LitStr, Token![,]>::parse_terminated_with(&content, |input| {
        if !input.peek(LitStr) {
            return Err(input.error(format!("a tag is a text in quotes: write `{EXAMPLE}`")));
        }
        let tag = input.parse()?;
        if !input.is_empty() && !input.peek(Token![,]) {
            return Err(input.error("something is left over here: write `,` between two tags"));
        }
        Ok(tag)
    })?;
    Ok(tags.into_iter().collect())
}

/// The parentheses of `name(..)`.
fn list<'a>(
    name: &Ident,
    input: ParseStream<'a>,
    example: &str,
    content: &mut Option<syn::parse::ParseBuffer<'a>>,
) -> Result<()> {
    if !input.peek(syn::token::Paren) {
        return Err(Error::new(
            name.span(),
            format!("`{name}` is a list: write `{example}`"),
        ));
    }
    let inner;
    parenthesized!(inner in input);
    if inner.is_empty() {
        return Err(Error::new(
            name.span(),
            format!("`{name}` lists nothing: write `{example}`, or leave it out"),
        ));
    }
    *content = Some(inner);
    Ok(())
}

fn key(name: &Ident, input: ParseStream<'_>) -> Result<Vec<KeyArg>> {
    let mut content = None;
    list(
        name,
        input,
        "key(organization = self.organization)",
        &mut content,
    )?;
    let Some(content) = content else {
        return Ok(Vec::new());
    };
    let parts = Punctuated::<KeyArg, Token![,]>::parse_terminated_with(&content, |input| {
        let name = input.call(Ident::parse_any).map_err(|error| {
            Error::new(
                error.span(),
                "a part of the key has a name: write `key(organization = self.organization)`",
            )
        })?;
        if name == "self" {
            let message = "the key cannot hold `self` as a whole: name what of it matters, `key(organization = self.organization)`";
            return Err(Error::new(name.span(), message));
        }
        let value = if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            Some(input.parse()?)
        } else {
            None
        };
        if !input.is_empty() && !input.peek(Token![,]) {
            return Err(input.error("a part of the key is `name = value`: write `key(organization = self.organization)`"));
        }
        Ok(KeyArg { name, value })
    })?;
    let parts: Vec<_> = parts.into_iter().collect();
    for (i, part) in parts.iter().enumerate() {
        if parts[..i].iter().any(|earlier| earlier.name == part.name) {
            return Err(Error::new(
                part.name.span(),
                format!(
                    "the key has two parts `{}`: give one another name",
                    part.name
                ),
            ));
        }
    }
    Ok(parts)
}

fn skip(name: &Ident, input: ParseStream<'_>) -> Result<Vec<Ident>> {
    let mut content = None;
    list(name, input, "skip(pool)", &mut content)?;
    let Some(content) = content else {
        return Ok(Vec::new());
    };
    let skipped = Punctuated::<Ident, Token![,]>::parse_terminated_with(&content, |input| {
        let name = input.call(Ident::parse_any).map_err(|error| {
            Error::new(
                error.span(),
                "`skip` lists names of arguments: write `skip(pool)`",
            )
        })?;
        if !input.is_empty() && !input.peek(Token![,]) {
            return Err(
                input.error("`skip` lists names of arguments only: write `skip(pool, now)`")
            );
        }
        Ok(name)
    })?;
    let skipped: Vec<_> = skipped.into_iter().collect();
    for (i, name) in skipped.iter().enumerate() {
        if skipped[..i].contains(name) {
            return Err(Error::new(
                name.span(),
                format!("`{name}` is skipped twice: write it once"),
            ));
        }
    }
    Ok(skipped)
}

fn version(name: &Ident, input: ParseStream<'_>) -> Result<u32> {
    options::equals(name, input, "version = 2")?;
    let wrong = |span| {
        Error::new(
            span,
            "`version` is a whole number up to 4294967295: write `version = 2`",
        )
    };
    let number: LitInt = input.parse().map_err(|error| wrong(error.span()))?;
    if !number.suffix().is_empty() {
        let message = format!(
            "`version` is a plain number: write `version = {}`",
            number.base10_digits()
        );
        return Err(Error::new(number.span(), message));
    }
    number
        .base10_digits()
        .parse()
        .map_err(|_| wrong(number.span()))
}

fn companion(name: &Ident, input: ParseStream<'_>) -> Result<Companion> {
    options::equals(name, input, "companion = none")?;
    let value = input.call(Ident::parse_any).map_err(|error| {
        Error::new(
            error.span(),
            "`companion` is a name: write `companion = get_issue_cache`, or `companion = none`",
        )
    })?;
    Ok(if value == "none" {
        Companion::None
    } else {
        Companion::Named(value)
    })
}
