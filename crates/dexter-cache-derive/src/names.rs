//! Identifiers: those that generated code makes up, and whether tokens mention one.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident};
use syn::visit::{self, Visit};
use syn::{Block, Ident};

/// A name for a local variable that no code of the user can see.
pub(crate) fn local(name: &str) -> Ident {
    Ident::new(&format!("__{name}"), Span::mixed_site())
}

/// An item's name, pointing at the user's own, known as generated.
pub(crate) fn item(name: &str, at: &Ident) -> Ident {
    let span = Span::call_site().located_at(at.span());
    if at.to_string().starts_with("r#") && *at == format_ident!("r#{name}") {
        return Ident::new_raw(name, span);
    }
    Ident::new(name, span)
}

/// The text of a name, without `r#`.
pub(crate) fn text(ident: &Ident) -> String {
    use syn::ext::IdentExt as _;
    ident.unraw().to_string()
}

/// Whether `tokens` hold `name`, be it as a field or a method.
pub(crate) fn holds(tokens: impl ToTokens, name: &Ident) -> bool {
    fn any(tokens: TokenStream, name: &Ident) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(ident) => ident == *name,
            TokenTree::Group(group) => any(group.stream(), name),
            _ => false,
        })
    }
    any(tokens.into_token_stream(), name)
}

/// Whether `tokens` hold `name` as a name of its own.
pub(crate) fn mentions(tokens: impl ToTokens, name: &Ident) -> bool {
    fn any(tokens: TokenStream, name: &Ident) -> bool {
        // How many dots stand before a token: behind one it is a field, behind two the end of a range.
        let mut dots = 0;
        tokens.into_iter().any(|token| {
            let is_field = dots == 1;
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '.' => {
                    dots += 1;
                    return false;
                }
                _ => dots = 0,
            }
            match token {
                TokenTree::Ident(ident) => !is_field && ident == *name,
                TokenTree::Group(group) => any(group.stream(), name),
                // Format strings name variables inside of their literal.
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    text.starts_with('"') && text.contains(&format!("{{{name}"))
                }
                TokenTree::Punct(_) => false,
            }
        })
    }
    any(tokens.into_token_stream(), name)
}

/// Whether `tokens` hold the word `word`.
pub(crate) fn mentions_word(tokens: impl ToTokens, word: &str) -> bool {
    mentions(tokens, &Ident::new(word, Span::call_site()))
}

/// Whether a body says `Self` for itself: in an item within it the word means that item's own type.
pub(crate) fn says_self(block: &Block) -> bool {
    struct Says(bool);

    impl<'ast> Visit<'ast> for Says {
        fn visit_item(&mut self, _: &'ast syn::Item) {}

        fn visit_ident(&mut self, ident: &'ast Ident) {
            self.0 |= ident == "Self";
        }

        fn visit_macro(&mut self, invoked: &'ast syn::Macro) {
            self.0 |= mentions_word(&invoked.tokens, "Self");
            visit::visit_macro(self, invoked);
        }
    }

    let mut says = Says(false);
    says.visit_block(block);
    says.0
}
