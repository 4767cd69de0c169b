//! The options that say what becomes of a value before and after its TTL.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::ParseStream;
use syn::{Error, Ident, LitFloat, Result};

use crate::duration::Ttl;
use crate::key::{reference_at, standing_at};
use crate::{names, options};

/// Each as it was written, with the name it was written under.
#[derive(Default)]
pub(crate) struct Lives {
    stale: Option<(Ident, Ttl)>,
    throttle: Option<(Ident, Ttl)>,
    refresh_ahead: Option<(Ident, LitFloat)>,
    soft_timeout: Option<(Ident, Ttl)>,
    hard_timeout: Option<(Ident, Ttl)>,
    none_ttl: Option<(Ident, Ttl)>,
}

impl Lives {
    pub(crate) fn option(&mut self, name: &Ident, input: ParseStream<'_>) -> Result<()> {
        let text = names::text(name);
        if text == "refresh_ahead" {
            self.refresh_ahead = Some((name.clone(), part(name, input)?));
            return Ok(());
        }
        let example = if text == "stale" { "1h" } else { "10s" };
        options::equals(name, input, &format!("{text} = \"{example}\""))?;
        let span = Some((name.clone(), Ttl::new(&text, input.parse()?)?));
        match text.as_str() {
            "stale" => self.stale = span,
            "throttle" => self.throttle = span,
            "soft_timeout" => self.soft_timeout = span,
            "hard_timeout" => self.hard_timeout = span,
            _ => self.none_ttl = span,
        }
        Ok(())
    }

    /// Options that do nothing without others.
    pub(crate) fn check(&self) -> Result<()> {
        if let (Some((name, _)), None) = (&self.soft_timeout, &self.stale) {
            let message = "`soft_timeout` answers with a stale value, and none is kept: write `stale = \"1h\"` as well";
            return Err(Error::new(name.span(), message));
        }
        if let (Some((name, _)), None, None) = (&self.throttle, &self.stale, &self.refresh_ahead) {
            let message = "`throttle` is the pause after a load that failed over a value that is there: write `stale = \"1h\"` as well";
            return Err(Error::new(name.span(), message));
        }
        if let (Some((name, soft)), Some((_, hard))) = (&self.soft_timeout, &self.hard_timeout)
            && let (Some(soft), Some(hard)) = (soft.fixed(), hard.fixed())
            && soft >= hard
        {
            let message = "`hard_timeout` ends the call before `soft_timeout` is over: make `soft_timeout` the shorter one, or leave it out";
            return Err(Error::new(name.span(), message));
        }
        Ok(())
    }

    /// The first option that needs a load which goes on without its caller.
    pub(crate) fn detached(&self) -> Option<&Ident> {
        let refresh = self.refresh_ahead.as_ref().map(|(name, _)| name);
        let soft = self.soft_timeout.as_ref().map(|(name, _)| name);
        let hard = self.hard_timeout.as_ref().map(|(name, _)| name);
        refresh.or(soft).or(hard)
    }

    pub(crate) fn is_refreshed_ahead(&self) -> bool {
        self.refresh_ahead.is_some()
    }

    /// What follows on `Policy::new(..)`.
    pub(crate) fn policy(&self, private: &TokenStream) -> TokenStream {
        let mut policy = TokenStream::new();
        let spans = [
            (&self.stale, quote!(stale)),
            (&self.throttle, quote!(throttle)),
            (&self.soft_timeout, quote!(soft_timeout)),
            (&self.hard_timeout, quote!(hard_timeout)),
        ];
        for (option, method) in spans {
            if let Some((_, span)) = option {
                let span = span.tokens(private);
                policy.extend(quote!(.#method(#span.as_duration())));
            }
        }
        if let Some((_, part)) = &self.refresh_ahead {
            policy.extend(quote!(.refresh_ahead(#part)));
        }
        if let Some((_, span)) = &self.none_ttl {
            let span = span.tokens(private);
            policy.extend(quote!(.none_ttl(#span)));
        }
        policy
    }

    /// What the types have to be for these options, asked for at the options.
    pub(crate) fn asked(
        &self,
        private: &TokenStream,
        output: &impl ToTokens,
        launch: &Ident,
    ) -> TokenStream {
        let mut asked = TokenStream::new();
        let of_output = |what: &str, name: &Ident| {
            let what = Ident::new(what, Span::mixed_site().located_at(name.span()));
            let output = standing_at(output.to_token_stream(), name);
            let span = name.span().resolved_at(Span::mixed_site());
            quote_spanned!(span=> #private::probe::#what::<#output>();)
        };
        if let Some((name, _)) = &self.none_ttl {
            asked.extend(of_output("has_none", name));
        }
        if let Some((name, _)) = &self.hard_timeout {
            asked.extend(of_output("fails_late", name));
        }
        if let Some(name) = self.detached() {
            let goes_on = standing_at(quote!(#private::probe::goes_on), name);
            let launch = reference_at(launch, name);
            asked.extend(quote!(#goes_on(#launch);));
        }
        asked
    }

    /// How a call says that it took too long.
    pub(crate) fn late(&self, private: &TokenStream, probe: &Ident) -> TokenStream {
        if self.hard_timeout.is_some() {
            quote!((&&#probe).dexter_late())
        } else {
            quote!(#private::Alone)
        }
    }
}

fn part(name: &Ident, input: ParseStream<'_>) -> Result<LitFloat> {
    let wrong = |span| {
        Error::new(
            span,
            "`refresh_ahead` is a part of the TTL, between 0 and 1: write `refresh_ahead = 0.8`",
        )
    };
    options::equals(name, input, "refresh_ahead = 0.8")?;
    if input.peek(syn::Token![-]) {
        return Err(wrong(input.span()));
    }
    let part: LitFloat = input.parse().map_err(|error| wrong(error.span()))?;
    let value: f64 = part.base10_parse().map_err(|_| wrong(part.span()))?;
    if value > 0.0 && value < 1.0 {
        Ok(part)
    } else {
        Err(wrong(part.span()))
    }
}
