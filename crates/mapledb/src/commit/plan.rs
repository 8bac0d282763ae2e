//! The order of a commit's effects, decided before the first of them.
//!
//! | commit | effects |
//! |---|---|
//! | relaxed | publish |
//! | durable, fits one manifest, builds on the durable snapshot, no new blocks | store meta, sync all, publish |
//! | any other durable one | sync pages, store meta with an empty manifest, sync meta, publish |
//!
//! In the first durable form the kernel may write the meta before the pages it vouches for; the manifest is what tells
//! at recovery. In the second everything below the meta is durable before the meta is stored (I9).

use mapledb_os::planted;

/// One effect of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make every page of the file, and its length, durable.
    SyncPages,
    /// Store the meta in the slot that does not hold the last durable snapshot.
    StoreMeta,
    /// One sync of pages and meta together.
    SyncAll,
    /// One sync of the meta.
    SyncMeta,
    /// Let readers see it.
    Publish,
}

/// What decides the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Circumstances {
    /// Whether the commit must survive an operating-system crash before it is published.
    pub(crate) is_durable: bool,
    /// Whether the environment wants two syncs whatever the commit.
    pub(crate) wants_two_syncs: bool,
    /// Whether the snapshot the commit builds on is the last durable one.
    pub(crate) builds_on_durable: bool,
    /// Whether the commit has had blocks allocated: they are durable before a meta counts on them.
    pub(crate) has_grown: bool,
    /// Whether the manifest fits the meta.
    pub(crate) manifest_fits: bool,
}

/// The effects of a commit, in order.
pub(crate) fn plan(at: Circumstances) -> &'static [Step] {
    if !at.is_durable {
        return &[Step::Publish];
    }
    let builds_on_durable = at.builds_on_durable || planted("manifest_of_own_pages");
    let has_grown = at.has_grown && !planted("unsynced_growth");
    let one_sync = !at.wants_two_syncs && builds_on_durable && !has_grown && at.manifest_fits;
    match one_sync {
        true => &[Step::StoreMeta, Step::SyncAll, Step::Publish],
        false => &[Step::SyncPages, Step::StoreMeta, Step::SyncMeta, Step::Publish],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sync_is_enough_only_when_the_manifest_can_vouch_for_everything() {
        for bits in 0..32u8 {
            let bit = |n: u8| bits & (1 << n) != 0;
            let at = Circumstances {
                is_durable: bit(0),
                wants_two_syncs: bit(1),
                builds_on_durable: bit(2),
                has_grown: bit(3),
                manifest_fits: bit(4),
            };
            let steps = plan(at);
            let syncs = steps.iter().filter(|s| matches!(s, Step::SyncPages | Step::SyncAll | Step::SyncMeta));
            let expected = match (bit(0), !bit(1) && bit(2) && !bit(3) && bit(4)) {
                (false, _) => 0,
                (true, true) => 1,
                (true, false) => 2,
            };
            assert_eq!(syncs.count(), expected, "{at:?}");
            assert_eq!(steps.last(), Some(&Step::Publish));
        }
    }

    #[test]
    fn nothing_is_published_or_stored_as_meta_before_what_it_stands_on_is_durable() {
        let durable = Circumstances {
            is_durable: true,
            wants_two_syncs: true,
            builds_on_durable: true,
            has_grown: false,
            manifest_fits: true,
        };
        assert_eq!(plan(durable), [Step::SyncPages, Step::StoreMeta, Step::SyncMeta, Step::Publish]);
    }
}
