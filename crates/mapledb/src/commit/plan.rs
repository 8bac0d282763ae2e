//! The order of the effects that make a head durable, decided before the first of them.
//!
//! | what the head has on top of the durable snapshot | effects |
//! |---|---|
//! | is listed, fits one manifest, no new blocks | store meta, sync all, note, publish |
//! | anything else | sync pages, store meta with an empty manifest, sync meta, note, publish |
//!
//! In the first form the kernel may write the meta before the pages it vouches for; the manifest is what tells at
//! recovery. In the second everything below the meta is durable before the meta is stored (I9).

use mapledb_os::planted;

/// One effect.
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
    /// Note in shared memory that it is durable, and where its meta is.
    Note,
    /// Let readers see it.
    Publish,
}

/// What decides the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Circumstances {
    /// Whether the environment wants two syncs whatever the commit.
    pub(crate) wants_two_syncs: bool,
    /// Whether blocks have been allocated since the durable snapshot: they are durable before a meta counts on them.
    pub(crate) has_grown: bool,
    /// Whether there is a manifest of all pages since the durable snapshot.
    pub(crate) has_manifest: bool,
}

/// The effects that make a head durable, in order.
pub(crate) fn plan(at: Circumstances) -> &'static [Step] {
    let has_grown = at.has_grown && !planted("unsynced_growth");
    match !at.wants_two_syncs && !has_grown && at.has_manifest {
        true => &[Step::StoreMeta, Step::SyncAll, Step::Note, Step::Publish],
        false => &[Step::SyncPages, Step::StoreMeta, Step::SyncMeta, Step::Note, Step::Publish],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sync_is_enough_only_when_the_manifest_can_vouch_for_everything() {
        for bits in 0..8u8 {
            let bit = |n: u8| bits & (1 << n) != 0;
            let at = Circumstances { wants_two_syncs: bit(0), has_grown: bit(1), has_manifest: bit(2) };
            let steps = plan(at);
            let syncs = steps.iter().filter(|s| matches!(s, Step::SyncPages | Step::SyncAll | Step::SyncMeta));
            let expected = if !bit(0) && !bit(1) && bit(2) { 1 } else { 2 };
            assert_eq!(syncs.count(), expected, "{at:?}");
            assert_eq!(steps[steps.len() - 2..], [Step::Note, Step::Publish]);
        }
    }

    #[test]
    fn nothing_is_published_or_stored_as_meta_before_what_it_stands_on_is_durable() {
        let durable = Circumstances { wants_two_syncs: true, has_grown: false, has_manifest: true };
        let steps = [Step::SyncPages, Step::StoreMeta, Step::SyncMeta, Step::Note, Step::Publish];
        assert_eq!(plan(durable), steps);
    }
}
