//! Loading sorted pairs behind all there are, into a table or a multimap.

use mapledb_format::order::Order;

use crate::dup;
use crate::error::{Error, Result};
use crate::pages::PagesMut;
use crate::tree::Appender;

/// What sorted pairs are pushed into.
pub(super) trait Loader {
    /// Puts a pair behind the last one. An error about it changes nothing.
    fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Brings what was pushed into its final form.
    fn finish(self) -> Result<()>;
}

impl<P: PagesMut, O: Order> Loader for Appender<'_, '_, P, O> {
    fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Appender::push(self, key, value)
    }

    fn finish(self) -> Result<()> {
        Appender::finish(self)
    }
}

impl<P: PagesMut, O: Order> Loader for dup::Loader<'_, '_, P, O> {
    fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        dup::Loader::push(self, key, value)
    }

    fn finish(self) -> Result<()> {
        dup::Loader::finish(self)
    }
}

/// Pushes pairs up to the first that is refused, or that is an error itself; answers how many were pushed, and why no more.
pub(super) fn load<Kb: AsRef<[u8]>, Vb: AsRef<[u8]>>(
    mut loader: impl Loader,
    pairs: impl IntoIterator<Item = Result<(Kb, Vb)>>,
) -> Result<(u64, Option<Error>)> {
    let mut stored = 0;
    for pair in pairs {
        match pair.and_then(|(key, value)| loader.push(key.as_ref(), value.as_ref())) {
            Ok(()) => stored += 1,
            // The pages are as sound as before, and what was pushed is kept.
            Err(error) if error.is_about_arguments() || matches!(error, Error::Input { .. }) => {
                return loader.finish().map(|()| (stored, Some(error)));
            }
            Err(error) => return Err(error),
        }
    }
    loader.finish().map(|()| (stored, None))
}
