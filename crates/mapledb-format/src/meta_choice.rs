//! Which of the two metas stands, decided from what is known of each.
//!
//! The newest meta stands whose manifest verifies. Verifying reads pages, so the decision asks for it one
//! meta at a time: call [`choose`] again with what came out until it says which stands.
//!
//! - A meta that was torn (its own checksum is wrong) is what a crash leaves of a commit that never
//!   returned, and is passed over in silence.
//! - A meta whose own checksum is right and which is passed over all the same is reported.
//! - A meta of another version or with features not known here is never passed over: what it says may be
//!   the newest commit.
//! - A page that cannot be *read* is the caller's error, not a candidate's fault.

use crate::error::MetaFault;
use crate::ids::{PageSize, Pgno, Txnid};
use crate::meta::{Identity, Meta, Slot};
use crate::{FormatError, Result};

/// What the choice needs of a meta that could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Its commit.
    pub txnid: Txnid,
    /// Its file.
    pub identity: Identity,
    /// The size of its pages.
    pub page_size: PageSize,
}

impl Stamp {
    /// The stamp of a meta.
    pub const fn of(meta: &Meta) -> Stamp {
        Stamp { txnid: meta.head.txnid, identity: meta.identity, page_size: meta.page_size }
    }
}

/// Why a manifest does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ManifestFault {
    /// The list itself makes no sense.
    #[error("{0}")]
    Coding(FormatError),
    /// A listed page is not what the commit wrote.
    #[error("page {pgno}: {error}")]
    Page {
        /// The page.
        pgno: Pgno,
        /// What is wrong with it.
        error: FormatError,
    },
    /// Each page is sound, but together they are not those of the commit.
    #[error("the pages it lists are not the ones it was made with")]
    Digest,
}

/// What is known of the meta in one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Candidate {
    /// It could not be read as a meta.
    Unusable(MetaFault),
    /// It was read; nobody has looked at its manifest.
    Unverified(Stamp),
    /// Its manifest does not verify.
    Unproven(Stamp, ManifestFault),
    /// Its manifest verifies.
    Proven(Stamp),
}

/// Why a meta did not stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It could not be read as a meta.
    #[error("{0}")]
    Meta(MetaFault),
    /// Its pages are not there.
    #[error("transaction {txnid} did not reach the disk whole: {fault}")]
    Manifest {
        /// The commit it was for.
        txnid: Txnid,
        /// What is missing.
        fault: ManifestFault,
    },
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Verify the manifest of this meta and ask again.
    Verify(Slot),
    /// This meta stands.
    Stands {
        /// The meta.
        slot: Slot,
        /// Why the other does not, if it is to be reported: its own checksum was right.
        passed_over: Option<Refusal>,
    },
    /// No meta stands, and here is why for A and for B.
    Neither(Refusal, Refusal),
}

/// Decides which of meta A and meta B stands, or what must be known first. Fails if the two belong to
/// different files, or if one was made by a version or with features that this build does not know.
pub fn choose(a: Candidate, b: Candidate) -> Result<Choice> {
    for candidate in [a, b] {
        if let Candidate::Unusable(
            fault @ (MetaFault::OtherVersion { .. } | MetaFault::UnknownFeatures { .. }),
        ) = candidate
        {
            return Err(FormatError::BadMeta(fault));
        }
    }
    let (newer, older) = match (stamp(&a), stamp(&b)) {
        (Some(in_a), Some(in_b)) => {
            if in_a.identity != in_b.identity || in_a.page_size != in_b.page_size {
                return Err(FormatError::BadMeta(MetaFault::Strangers));
            }
            if in_b.txnid > in_a.txnid { ((Slot::B, b), (Slot::A, a)) } else { ((Slot::A, a), (Slot::B, b)) }
        }
        (None, Some(_)) => ((Slot::B, b), (Slot::A, a)),
        _ => ((Slot::A, a), (Slot::B, b)),
    };
    Ok(match (stands(newer.1), stands(older.1)) {
        (Verdict::Ask, _) => Choice::Verify(newer.0),
        (Verdict::Yes, other) => Choice::Stands { slot: newer.0, passed_over: unreadable(other) },
        (Verdict::No(_), Verdict::Ask) => Choice::Verify(older.0),
        (Verdict::No(why), Verdict::Yes) => Choice::Stands { slot: older.0, passed_over: Some(why) },
        (Verdict::No(newer_why), Verdict::No(older_why)) => match newer.0 {
            Slot::A => Choice::Neither(newer_why, older_why),
            Slot::B => Choice::Neither(older_why, newer_why),
        },
    })
}

enum Verdict {
    Yes,
    Ask,
    No(Refusal),
}

fn stands(candidate: Candidate) -> Verdict {
    match candidate {
        Candidate::Proven(_) => Verdict::Yes,
        Candidate::Unverified(_) => Verdict::Ask,
        Candidate::Unusable(fault) => Verdict::No(Refusal::Meta(fault)),
        Candidate::Unproven(stamp, fault) => Verdict::No(Refusal::Manifest { txnid: stamp.txnid, fault }),
    }
}

fn stamp(candidate: &Candidate) -> Option<Stamp> {
    match candidate {
        Candidate::Unusable(_) => None,
        Candidate::Unverified(stamp) | Candidate::Unproven(stamp, _) | Candidate::Proven(stamp) => {
            Some(*stamp)
        }
    }
}

/// The report about a meta beside the one that stands: it may have been the newer one only if it could not
/// be read, and is worth a word only if that was not a torn write.
fn unreadable(verdict: Verdict) -> Option<Refusal> {
    match verdict {
        Verdict::No(refusal @ Refusal::Meta(fault)) if checksum_was_right(fault) => Some(refusal),
        _ => None,
    }
}

fn checksum_was_right(fault: MetaFault) -> bool {
    !matches!(fault, MetaFault::WrongMagic | MetaFault::WrongChecksum { .. } | MetaFault::Truncated)
}

#[cfg(test)]
mod tests {
    use super::Candidate::{Proven, Unproven, Unusable, Unverified};
    use super::*;

    const TORN: MetaFault = MetaFault::WrongChecksum { stored: 1, computed: 2 };
    const ODD: MetaFault = MetaFault::BadField("its order is not known");
    const LATER: MetaFault = MetaFault::OtherVersion { found: 2 };

    fn at(txnid: u64) -> Stamp {
        Stamp { txnid: Txnid(txnid), identity: Identity([1; 16]), page_size: PageSize::MIN }
    }

    fn stands(slot: Slot) -> Result<Choice> {
        Ok(Choice::Stands { slot, passed_over: None })
    }

    fn unproven(txnid: u64) -> Refusal {
        Refusal::Manifest { txnid: Txnid(txnid), fault: ManifestFault::Digest }
    }

    #[test]
    fn the_newest_meta_stands_whose_manifest_verifies() {
        let lost = ManifestFault::Digest;
        let over = |slot, refusal| Ok(Choice::Stands { slot, passed_over: Some(refusal) });
        let neither = |a, b| Ok(Choice::Neither(a, b));
        let table = [
            // Nothing verified yet: the newer is asked for first.
            (Unverified(at(5)), Unverified(at(6)), Ok(Choice::Verify(Slot::B))),
            (Unverified(at(6)), Unverified(at(5)), Ok(Choice::Verify(Slot::A))),
            (Unverified(at(6)), Unverified(at(6)), Ok(Choice::Verify(Slot::A))),
            (Unverified(at(6)), Proven(at(5)), Ok(Choice::Verify(Slot::A))),
            (Unverified(at(5)), Unusable(TORN), Ok(Choice::Verify(Slot::A))),
            (Unusable(TORN), Unverified(at(5)), Ok(Choice::Verify(Slot::B))),
            // The newer verifies: the older is not looked at.
            (Unverified(at(5)), Proven(at(6)), stands(Slot::B)),
            (Proven(at(6)), Unproven(at(5), lost), stands(Slot::A)),
            (Proven(at(6)), Unusable(TORN), stands(Slot::A)),
            (Unusable(MetaFault::WrongMagic), Proven(at(6)), stands(Slot::B)),
            (Unusable(MetaFault::Truncated), Proven(at(6)), stands(Slot::B)),
            // The newer does not: the older must, and that is reported.
            (Unverified(at(5)), Unproven(at(6), lost), Ok(Choice::Verify(Slot::A))),
            (Proven(at(5)), Unproven(at(6), lost), over(Slot::A, unproven(6))),
            (Proven(at(6)), Unusable(ODD), over(Slot::A, Refusal::Meta(ODD))),
            // Neither: an error, with the reasons of A and of B in this order.
            (Unproven(at(5), lost), Unproven(at(6), lost), neither(unproven(5), unproven(6))),
            (Unproven(at(6), lost), Unproven(at(5), lost), neither(unproven(6), unproven(5))),
            (Unusable(TORN), Unproven(at(5), lost), neither(Refusal::Meta(TORN), unproven(5))),
            (Unusable(TORN), Unusable(ODD), neither(Refusal::Meta(TORN), Refusal::Meta(ODD))),
            // What this build cannot understand may be the newest, so nothing else stands.
            (Proven(at(6)), Unusable(LATER), Err(FormatError::BadMeta(LATER))),
            (Unusable(LATER), Unusable(TORN), Err(FormatError::BadMeta(LATER))),
        ];
        for (a, b, expected) in table {
            assert_eq!(choose(a, b), expected, "{a:?} {b:?}");
        }
    }

    #[test]
    fn metas_of_two_files_are_an_error() {
        let strangers = Err(FormatError::BadMeta(MetaFault::Strangers));
        let other_file = Stamp { identity: Identity([2; 16]), ..at(6) };
        let other_size = Stamp { page_size: PageSize::MAX, ..at(6) };
        for other in [other_file, other_size] {
            assert_eq!(choose(Proven(at(5)), Proven(other)), strangers);
            assert_eq!(choose(Unverified(other), Unverified(at(5))), strangers);
        }
    }

    #[test]
    fn a_refusal_names_the_page() {
        let error = FormatError::WrongChecksum { stored: 1, computed: 2 };
        let fault = ManifestFault::Page { pgno: Pgno::new(812).unwrap(), error };
        let text = Refusal::Manifest { txnid: Txnid(7), fault }.to_string();
        assert!(text.starts_with("transaction 7 did not reach the disk whole: page 812: checksum"), "{text}");
    }
}
