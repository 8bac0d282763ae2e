//! Sorted input, laid down: pages that are sealed before the commit, and written to the disk while the next ones are made.

use std::ops::Range;

use mapledb_format::{Extent, Pgno, header};

use super::Draft;
use crate::error::{Error, Result};
use crate::pages::{PageRef, PagesMut};

/// So many pages of sorted input are written to the disk at a time while the next ones are made.
const WRITE_PAGES: u64 = 1024;

/// Pages in a row that are sealed and as they will stay, and were not asked to be written yet; empty if there are none.
#[derive(Debug, Default)]
pub(super) struct Unwritten(Range<u64>);

impl Unwritten {
    /// Takes a page in; answers those that are to be written now, once they are enough.
    pub(super) fn take(&mut self, pgno: Pgno) -> Option<Extent> {
        let (at, Range { start, end }) = (pgno.get(), self.0.clone());
        if at < end && at + WRITE_PAGES > start {
            // A branch, made before its children and closed after them: the sync will see to it.
            return None;
        }
        let follows = end > 0 && at >= end && at - end < WRITE_PAGES;
        self.0 = if follows { start..at + 1 } else { at..at + 1 };
        let Range { start, end } = self.0;
        if end - start < WRITE_PAGES {
            return None;
        }
        self.0 = end..end;
        Some(Extent::new(Pgno::new(start).unwrap_or(pgno), end - start))
    }
}

impl Draft {
    /// Pages that are handed out, perhaps again, hold nothing that was sealed.
    pub(super) fn forget_sealed(&mut self, handed: Extent) {
        if self.space.sealed_ahead.pages() == 0 {
            return;
        }
        for page in (handed.first.get()..handed.end()).filter_map(Pgno::new).map(|page| Extent::new(page, 1))
        {
            if self.space.sealed_ahead.holds(&page) {
                self.space.sealed_ahead.remove(page);
            }
        }
    }

    /// An own page that was sealed before the commit, where no committed one was found for `error`.
    #[cold]
    pub(super) fn laid_down_page(&self, at: PageRef, error: Error) -> Result<&[u8]> {
        if !self.owns(at) {
            return Err(error);
        }
        let page = self.store.own(self.generation, at.pgno, 1)?;
        match header::check_identity(page, at.pgno, at.tag, self.txnid) {
            Ok(()) => Ok(page),
            Err(cause) => Err(Error::Corrupt { pgno: at.pgno, cause }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is to be written after each of these pages.
    fn written(pages: impl IntoIterator<Item = u64>) -> Vec<(u64, u64)> {
        let mut unwritten = Unwritten::default();
        let asked =
            pages.into_iter().filter_map(|page| unwritten.take(Pgno::new(page).expect("a page number")));
        asked.map(|extent| (extent.first.get(), extent.pages)).collect()
    }

    #[test]
    fn pages_in_a_row_are_written_by_so_many_and_none_twice() {
        let row = 100..100 + 2 * WRITE_PAGES;
        assert_eq!(written(row.clone()), [(100, WRITE_PAGES), (100 + WRITE_PAGES, WRITE_PAGES)]);
        let with_branches = row.flat_map(|page| [page, page - page % 16]);
        assert_eq!(written(with_branches), written(100..100 + 2 * WRITE_PAGES));
    }

    #[test]
    fn a_row_that_breaks_off_is_left_to_the_sync() {
        let jump = 100_000;
        assert_eq!(written((100..200).chain(jump..jump + WRITE_PAGES)), [(jump, WRITE_PAGES)]);
    }
}
