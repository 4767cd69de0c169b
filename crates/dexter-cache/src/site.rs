//! What the macro knows of an annotated function, in one static.

use std::sync::OnceLock;

use crate::key::{Key, KeyBuilder};
use crate::stats::PrefixId;

/// One annotated function.
#[derive(Debug)]
pub struct Site {
    module: &'static str,
    function: &'static str,
    prefix: Option<&'static str>,
    version: u32,
    local: bool,
    named: OnceLock<Named>,
}

/// A site's prefix, and its number.
#[derive(Debug)]
pub(crate) struct Named {
    prefix: Box<str>,
    pub(crate) id: PrefixId,
}

impl Named {
    #[inline]
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl Site {
    /// The function `function` of the module `module`, as `module_path!()` gives it.
    pub const fn new(module: &'static str, function: &'static str) -> Self {
        Self {
            module,
            function,
            prefix: None,
            version: 0,
            local: false,
            named: OnceLock::new(),
        }
    }

    /// With this prefix instead of the function's path.
    #[must_use]
    pub const fn prefix(mut self, prefix: &'static str) -> Self {
        self.prefix = Some(prefix);
        self
    }

    /// With this version of the value's type.
    #[must_use]
    pub const fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// With values that never leave the process.
    #[must_use]
    pub const fn local(mut self) -> Self {
        self.local = true;
        self
    }

    pub(crate) const fn function(&self) -> &'static str {
        self.function
    }

    #[inline]
    pub(crate) const fn is_local(&self) -> bool {
        self.local
    }

    #[inline]
    pub(crate) const fn type_version(&self) -> u32 {
        self.version
    }

    pub(crate) fn prefix_id(&self) -> PrefixId {
        self.named().id
    }

    pub(crate) fn prefix_text(&self) -> &str {
        self.named().prefix()
    }

    pub(crate) fn key(&self, parts: impl FnOnce(&mut KeyBuilder)) -> Key {
        let mut builder = KeyBuilder::new(&self.named().prefix);
        parts(&mut builder);
        builder.finish()
    }

    #[inline]
    pub(crate) fn named(&self) -> &Named {
        self.named.get_or_init(|| {
            let prefix: Box<str> = match self.prefix {
                Some(prefix) => prefix.into(),
                None => format!("{}.{}", self.module.replace("::", "."), self.function).into(),
            };
            Named {
                id: PrefixId::of(&prefix),
                prefix,
            }
        })
    }
}
