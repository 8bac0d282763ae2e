//! What this process's commits have written since the last durable one: from it whoever leads makes one manifest for all of
//! them.
//!
//! A manifest vouches for a commit only if it lists every page that is reachable from it and was written since the durable
//! snapshot, whoever wrote it. This process knows of its own commits alone. Where another's lie between, or one that is not
//! noted here, there is no list, and the pages are synced before the meta.

use std::collections::VecDeque;

use mapledb_format::{Extent, Txnid, manifest};
use mapledb_os::planted;

use crate::pages::PagesMut;
use crate::space::{Draft, Extents};

/// The most commits that are kept: more than heads may wait to be published.
const COMMITS_MAX: usize = 64;

/// One commit's pages.
#[derive(Debug)]
struct Commit {
    txnid: Txnid,
    /// The commit it builds on.
    base: Txnid,
    /// What it wrote and did not give up again; nothing if that is too much for a manifest.
    live: Option<Vec<Extent>>,
    /// What it gave up of pages written since the last durable snapshot.
    recent: Vec<Extent>,
    has_grown: bool,
}

/// The pages that a head has on top of the durable snapshot.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) pages: Extents,
    /// Whether blocks were allocated for some of them.
    pub(super) has_grown: bool,
    /// Whether they are those of one commit.
    pub(super) is_of_one_commit: bool,
}

/// This process's commits, in their order.
#[derive(Debug, Default)]
pub(crate) struct Written(VecDeque<Commit>);

impl Written {
    /// Notes what `draft`, which is about to be appended, has written. If its head is taken back no later one builds on it, so
    /// no list will ask for it.
    pub(super) fn note(&mut self, draft: &Draft, live: Vec<Extent>) {
        if self.0.len() == COMMITS_MAX {
            self.0.pop_front();
        }
        let is_listed = draft.space.handed_pages() <= manifest::MANIFEST_PAGES_MAX;
        self.0.push_back(Commit {
            txnid: draft.txnid(),
            base: draft.base_view().txnid,
            live: is_listed.then_some(live),
            recent: if is_listed { draft.recent().to_vec() } else { Vec::new() },
            has_grown: draft.space.has_grown(),
        });
    }

    /// Forgets commits that are durable.
    pub(super) fn forget_up_to(&mut self, durable: Txnid) {
        while self.0.front().is_some_and(|commit| commit.txnid <= durable) {
            self.0.pop_front();
        }
    }

    /// The pages that `head` has on top of `durable`, if all commits between are noted here.
    pub(super) fn since(&self, durable: Txnid, head: Txnid) -> Option<Listed> {
        let newest_alone = planted("manifest_of_own_pages");
        let mut chain: Vec<&Commit> = Vec::new();
        let mut wanted = head;
        while wanted != durable && (chain.is_empty() || !newest_alone) {
            let commit = self.0.iter().rev().find(|commit| commit.txnid == wanted)?;
            chain.push(commit);
            wanted = commit.base;
        }
        let mut pages = Extents::default();
        for commit in chain.iter().rev() {
            let given_up: Extents = commit.recent.iter().copied().collect();
            pages = pages.without(&given_up).into_iter().collect();
            for extent in commit.live.as_ref()? {
                if !pages.insert(*extent) {
                    return None;
                }
            }
        }
        (pages.pages() <= manifest::MANIFEST_PAGES_MAX)
            .then(|| Listed {
                pages,
                has_grown: chain.iter().any(|commit| commit.has_grown),
                is_of_one_commit: chain.len() == 1,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mapledb_format::Pgno;

    fn extent(first: u64, pages: u64) -> Extent {
        Extent::new(Pgno::new(first).expect("a page number"), pages)
    }

    fn commit(txnid: u64, base: u64, live: &[Extent], recent: &[Extent]) -> Commit {
        let (live, recent) = (Some(live.to_vec()), recent.to_vec());
        Commit { txnid: Txnid(txnid), base: Txnid(base), live, recent, has_grown: txnid == 9 }
    }

    fn pages(written: &Written, durable: u64, head: u64) -> Option<Vec<Extent>> {
        Some(written.since(Txnid(durable), Txnid(head))?.pages.iter().collect())
    }

    #[test]
    fn a_group_lists_what_its_last_commit_reaches_and_no_more() {
        let written = Written(VecDeque::from([
            commit(5, 4, &[extent(40, 3)], &[]),
            commit(6, 5, &[extent(50, 2)], &[extent(41, 1)]),
            // A page that the fifth wrote and the sixth gave up is written again.
            commit(7, 6, &[extent(41, 1), extent(60, 1)], &[extent(50, 1)]),
        ]));
        assert_eq!(pages(&written, 4, 5), Some(vec![extent(40, 3)]));
        assert_eq!(pages(&written, 4, 6), Some(vec![extent(40, 1), extent(42, 1), extent(50, 2)]));
        assert_eq!(pages(&written, 4, 7), Some(vec![extent(40, 3), extent(51, 1), extent(60, 1)]));
        assert_eq!(pages(&written, 6, 7), Some(vec![extent(41, 1), extent(60, 1)]));
    }

    #[test]
    fn there_is_no_list_across_a_commit_that_is_not_noted() {
        let mut written = Written(VecDeque::from([
            commit(5, 4, &[extent(40, 1)], &[]),
            // The sixth was another process's.
            commit(7, 6, &[extent(41, 1)], &[]),
            commit(9, 7, &[extent(42, 1)], &[]),
        ]));
        assert_eq!(pages(&written, 4, 7), None);
        assert_eq!(pages(&written, 6, 9), Some(vec![extent(41, 2)]));
        assert!(written.since(Txnid(6), Txnid(9)).is_some_and(|listed| listed.has_grown));
        assert_eq!(pages(&written, 4, 8), None);
        written.forget_up_to(Txnid(5));
        assert_eq!(pages(&written, 4, 5), None);
    }

    #[test]
    fn a_commit_too_large_for_a_manifest_is_not_listed() {
        let mut large = commit(5, 4, &[], &[]);
        large.live = None;
        assert_eq!(pages(&Written(VecDeque::from([large])), 4, 5), None);
        let fits = manifest::MANIFEST_PAGES_MAX;
        let two = [commit(5, 4, &[extent(40, fits)], &[]), commit(6, 5, &[extent(9000, 1)], &[])];
        assert_eq!(pages(&Written(VecDeque::from(two)), 4, 6), None);
    }
}
