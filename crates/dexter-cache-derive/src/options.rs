//! Reading `name = value, name(..), name` one after another, each at most once.

use proc_macro2::Span;
use syn::ext::IdentExt as _;
use syn::parse::ParseStream;
use syn::{Error, Ident, LitStr, Path, Result, Token};

/// Calls `option` with the name of each option; what follows the name is for it to read.
pub(crate) fn each(
    input: ParseStream<'_>,
    known: &[&str],
    mut option: impl FnMut(&Ident, ParseStream<'_>) -> Result<()>,
) -> Result<()> {
    let mut seen: Vec<String> = Vec::new();
    while !input.is_empty() {
        let name = input.call(Ident::parse_any).map_err(|error| {
            Error::new(
                error.span(),
                format!(
                    "this is not an option: write `name = value`, such as `{}`",
                    example(known)
                ),
            )
        })?;
        let text = name.unraw().to_string();
        if !known.contains(&text.as_str()) {
            return Err(unknown(&name, &text, known));
        }
        if seen.contains(&text) {
            return Err(Error::new(
                name.span(),
                format!("`{text}` is given twice: write it once"),
            ));
        }
        option(&name, input)?;
        seen.push(text);
        if input.is_empty() {
            break;
        }
        if !input.peek(Token![,]) {
            return Err(input.error("something is left over here: write `,` between two options"));
        }
        input.parse::<Token![,]>()?;
    }
    Ok(())
}

fn example(known: &[&str]) -> &'static str {
    if known.contains(&"ttl") {
        "ttl = 300"
    } else {
        "pattern = \"list_issues:*\""
    }
}

pub(crate) fn unknown(name: &Ident, text: &str, known: &[&str]) -> Error {
    let message = match closest(text, known) {
        Some(near) => format!("there is no option `{text}`: write `{near}`"),
        None => format!("there is no option `{text}`: write one of {}", list(known)),
    };
    Error::new(name.span(), message)
}

fn list(known: &[&str]) -> String {
    known
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The option that was probably meant.
fn closest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|name| (distance(text, name), *name))
        .filter(|(distance, name)| *distance <= name.len() / 3)
        .min()
        .map(|(_, name)| name)
}

fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

/// The `=` of `name = value`.
pub(crate) fn equals(name: &Ident, input: ParseStream<'_>, example: &str) -> Result<()> {
    if input.peek(Token![=]) && !(input.peek2(Token![,]) || is_last(input)) {
        input.parse::<Token![=]>()?;
        return Ok(());
    }
    Err(Error::new(
        name.span(),
        format!("`{name}` needs a value: write `{example}`"),
    ))
}

fn is_last(input: ParseStream<'_>) -> bool {
    let fork = input.fork();
    fork.parse::<Token![=]>().is_ok() && fork.is_empty()
}

/// A text option; anything else is an error that shows `example`.
pub(crate) fn text(name: &Ident, input: ParseStream<'_>, example: &str) -> Result<LitStr> {
    equals(name, input, example)?;
    if input.peek(LitStr) {
        return input.parse();
    }
    Err(input.error(format!("`{name}` is a text in quotes: write `{example}`")))
}

/// `crate = path`.
pub(crate) fn krate(name: &Ident, input: ParseStream<'_>) -> Result<Path> {
    equals(name, input, "crate = ::dexter_cache")?;
    input.call(Path::parse_mod_style).map_err(|error| {
        Error::new(
            error.span(),
            "`crate` is the path of this library: write `crate = ::dexter_cache`",
        )
    })
}

/// A flag: `name`, or `name = true` and `name = false`.
pub(crate) fn flag(name: &Ident, input: ParseStream<'_>) -> Result<(bool, Span)> {
    if !input.peek(Token![=]) {
        return Ok((true, name.span()));
    }
    input.parse::<Token![=]>()?;
    let value: syn::LitBool = input.parse().map_err(|error| {
        Error::new(
            error.span(),
            format!("`{name}` is on or off: write `{name} = true` or `{name} = false`"),
        )
    })?;
    Ok((value.value, name.span()))
}
