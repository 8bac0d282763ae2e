//! Named snapshots: their keys in the tree of snapshots, and what each key says.
//!
//! ```text
//! key of a snapshot that is kept       1, then its name in UTF-8
//! key of one that was dropped          2, then its txnid as eight bytes, big-endian
//!
//! record, the value of either
//!   0  txnid             u64  the commit whose state it is
//!   8  dropped_in        u64  the commit that dropped it, 0 while it is kept
//!  16  pages_used        u64  all its pages lie below, and in the used part of every state that lists it
//!  24  default table     64   tree record
//!  88  default sequence  u64
//!  96  catalog           64   tree record
//! 160  created_at        u64  unix time in nanoseconds, for people only
//! 168  reserved          24
//! 192
//! ```
//!
//! A dropped snapshot leaves a record, for a state that is older than the drop may stand again after a crash: it pins the
//! snapshot until the drop is in both metas, and then a later commit takes it out.

use crate::fields::{get, get_u64, put, put_u64};
use crate::ids::{Pgno, Txnid};
use crate::tree_record::{OrderId, TREE_RECORD_BYTES, TreeRecord};
use crate::{FormatError, Result};

/// The length of a record in bytes.
pub const SNAPSHOT_RECORD_BYTES: usize = 192;
/// The longest name of a snapshot in bytes, whatever the page size.
pub const SNAPSHOT_NAME_BYTES_MAX: usize = 255;

const KEY_KEPT: u8 = 1;
const KEY_DROPPED: u8 = 2;

const TXNID_AT: usize = 0;
const DROPPED_IN_AT: usize = 8;
const PAGES_USED_AT: usize = 16;
const DEFAULT_AT: usize = 24;
const SEQUENCE_AT: usize = 88;
const CATALOG_AT: usize = 96;
const CREATED_AT_AT: usize = 160;

const _: () = assert!(DEFAULT_AT + TREE_RECORD_BYTES == SEQUENCE_AT && SEQUENCE_AT + 8 == CATALOG_AT);
const _: () =
    assert!(CATALOG_AT + TREE_RECORD_BYTES == CREATED_AT_AT && CREATED_AT_AT + 32 == SNAPSHOT_RECORD_BYTES);

/// What a key of the tree of snapshots says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotKey<'k> {
    /// A snapshot that is kept under this name.
    Kept(&'k str),
    /// The snapshot of this commit, which was dropped.
    Dropped(Txnid),
}

impl SnapshotKey<'_> {
    /// The key's bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            SnapshotKey::Kept(name) => [&[KEY_KEPT], name.as_bytes()].concat(),
            SnapshotKey::Dropped(txnid) => [&[KEY_DROPPED][..], &txnid.0.to_be_bytes()].concat(),
        }
    }

    /// Reads a key.
    pub fn decode(key: &[u8]) -> Result<SnapshotKey<'_>> {
        let bad = |why| Err(FormatError::BadSnapshotRecord(why));
        match key.split_first() {
            Some((&KEY_KEPT, name)) if !name.is_empty() && name.len() <= SNAPSHOT_NAME_BYTES_MAX => {
                match std::str::from_utf8(name) {
                    Ok(name) => Ok(SnapshotKey::Kept(name)),
                    Err(_) => bad("its name is not UTF-8"),
                }
            }
            Some((&KEY_DROPPED, txnid)) => match <[u8; 8]>::try_from(txnid) {
                Ok(txnid) => Ok(SnapshotKey::Dropped(Txnid(u64::from_be_bytes(txnid)))),
                Err(_) => bad("its key is not as long as it must be"),
            },
            _ => bad("its key is of no known kind"),
        }
    }
}

/// All that a reader of a named snapshot needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRecord {
    /// The commit whose state it is: the one that made it.
    pub txnid: Txnid,
    /// The commit that dropped it, if one has.
    pub dropped_in: Option<Txnid>,
    /// All its pages lie below, and in the used part of every state that lists it.
    pub pages_used: Pgno,
    /// The default table.
    pub default_table: TreeRecord,
    /// The default table's sequence.
    pub default_sequence: u64,
    /// The named tables.
    pub catalog: TreeRecord,
    /// When it was made, in nanoseconds since 1970. Nothing depends on it.
    pub created_at: u64,
}

impl SnapshotRecord {
    /// The record's bytes.
    pub fn encode(&self) -> [u8; SNAPSHOT_RECORD_BYTES] {
        let mut record = [0; SNAPSHOT_RECORD_BYTES];
        put_u64::<TXNID_AT, _>(&mut record, self.txnid.0);
        put_u64::<DROPPED_IN_AT, _>(&mut record, self.dropped_in.map_or(0, |txnid| txnid.0));
        put_u64::<PAGES_USED_AT, _>(&mut record, self.pages_used.get());
        put::<DEFAULT_AT, TREE_RECORD_BYTES, _>(&mut record, self.default_table.encode());
        put_u64::<SEQUENCE_AT, _>(&mut record, self.default_sequence);
        put::<CATALOG_AT, TREE_RECORD_BYTES, _>(&mut record, self.catalog.encode());
        put_u64::<CREATED_AT_AT, _>(&mut record, self.created_at);
        record
    }

    /// Reads a record. Its trees must be sealed, in bytewise order, and lie in the snapshot's part of the file.
    pub fn decode(record: &[u8]) -> Result<SnapshotRecord> {
        let bad = |why| Err(FormatError::BadSnapshotRecord(why));
        let Ok(record) = <&[u8; SNAPSHOT_RECORD_BYTES]>::try_from(record) else {
            return bad("it is not as long as it must be");
        };
        let Some(pages_used) = Pgno::new(get_u64::<PAGES_USED_AT, _>(record)) else {
            return bad("it uses more pages than there are numbers");
        };
        let dropped_in = Txnid(get_u64::<DROPPED_IN_AT, _>(record));
        let snapshot = SnapshotRecord {
            txnid: Txnid(get_u64::<TXNID_AT, _>(record)),
            dropped_in: (dropped_in != Txnid(0)).then_some(dropped_in),
            pages_used,
            default_table: TreeRecord::decode(&get::<DEFAULT_AT, TREE_RECORD_BYTES, _>(record))?,
            default_sequence: get_u64::<SEQUENCE_AT, _>(record),
            catalog: TreeRecord::decode(&get::<CATALOG_AT, TREE_RECORD_BYTES, _>(record))?,
            created_at: get_u64::<CREATED_AT_AT, _>(record),
        };
        if snapshot.txnid == Txnid(0) {
            return bad("its txnid is 0, which a reader slot cannot pin");
        }
        if snapshot.dropped_in.is_some_and(|dropped_in| dropped_in <= snapshot.txnid) {
            return bad("it was dropped before it was made");
        }
        for tree in [&snapshot.default_table, &snapshot.catalog] {
            if tree.order != OrderId::Bytewise {
                return bad("one of its trees is not in bytewise order");
            }
            if !tree.is_sealed() {
                return bad("one of its trees was never sealed");
            }
            if !tree.is_empty() && tree.root >= pages_used {
                return bad("the root of one of its trees lies outside the snapshot");
            }
        }
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> SnapshotRecord {
        let tree = |root| TreeRecord {
            root: Pgno::new(root).unwrap(),
            depth: 1,
            root_tag: 9,
            ..TreeRecord::default()
        };
        SnapshotRecord {
            txnid: Txnid(12),
            dropped_in: None,
            pages_used: Pgno::new(90).unwrap(),
            default_table: tree(40),
            default_sequence: 7,
            catalog: tree(41),
            created_at: 3,
        }
    }

    #[test]
    fn a_record_and_its_keys_read_back() {
        let dropped = SnapshotRecord { dropped_in: Some(Txnid(13)), ..sample() };
        for record in [sample(), dropped] {
            assert_eq!(SnapshotRecord::decode(&record.encode()), Ok(record));
        }
        for key in [SnapshotKey::Kept("before the move"), SnapshotKey::Dropped(Txnid(1 << 40))] {
            assert_eq!(SnapshotKey::decode(&key.encode()), Ok(key));
        }
    }

    #[test]
    fn a_bad_record_or_key_says_why() {
        type Change = fn(&mut SnapshotRecord);
        let table: [(Change, &str); 5] = [
            (|s| s.txnid = Txnid(0), "its txnid is 0, which a reader slot cannot pin"),
            (|s| s.dropped_in = Some(Txnid(12)), "it was dropped before it was made"),
            (|s| s.catalog.order = OrderId::Reverse, "one of its trees is not in bytewise order"),
            (|s| s.default_table.root_tag = 0, "one of its trees was never sealed"),
            (
                |s| s.pages_used = Pgno::new(41).unwrap(),
                "the root of one of its trees lies outside the snapshot",
            ),
        ];
        for (change, why) in table {
            let mut record = sample();
            change(&mut record);
            assert_eq!(SnapshotRecord::decode(&record.encode()), Err(FormatError::BadSnapshotRecord(why)));
        }
        let mut far = sample().encode();
        far[PAGES_USED_AT + 7] = 1;
        let error = FormatError::BadSnapshotRecord("it uses more pages than there are numbers");
        assert_eq!(SnapshotRecord::decode(&far), Err(error));
        let keys: [(&[u8], &str); 5] = [
            (&[], "its key is of no known kind"),
            (&[KEY_KEPT], "its key is of no known kind"),
            (&[3, b'a'], "its key is of no known kind"),
            (&[KEY_KEPT, 0xff], "its name is not UTF-8"),
            (&[KEY_DROPPED, 1], "its key is not as long as it must be"),
        ];
        for (key, why) in keys {
            assert_eq!(SnapshotKey::decode(key), Err(FormatError::BadSnapshotRecord(why)));
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]

        #[test]
        fn arbitrary_bytes_never_panic(changes: Vec<(u8, u8)>, key: Vec<u8>) {
            let mut bytes = sample().encode();
            for (at, byte) in changes {
                bytes[usize::from(at) % SNAPSHOT_RECORD_BYTES] = byte;
            }
            if let Ok(record) = SnapshotRecord::decode(&bytes) {
                prop_assert_eq!(SnapshotRecord::decode(&record.encode()), Ok(record));
            }
            if let Ok(known) = SnapshotKey::decode(&key) {
                prop_assert_eq!(known.encode(), key);
            }
        }
    }
}
