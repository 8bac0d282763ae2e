//! What a commit is, without the pages: its txnid, its trees, its free space. A meta holds one, and so does
//! each head record of the lock file.
//!
//! ```text
//! offsets in the meta; the body begins at 56
//!   56  txnid             u64  never 0
//!   64  base_txnid        u64  the durable snapshot the commit builds on
//!   72  pages_used        u64  the first page never allocated
//!   80  default table     64   tree record
//!  144  default sequence  u64
//!  152  catalog           64   tree record
//!  216  free space        64   tree record
//!  280  snapshots         64   tree record
//!  344  committed_at      u64  unix time in nanoseconds, for people only
//!  352  free_len          u16  bytes of the inline free area
//!  360  pages_in_use      u64  pages that the trees of this commit take
//!  368  snapshots_in      u64  the commit that last changed the tree of snapshots, 0 if none has
//!  376  pages_available   u64  pages of the used part that the next commit may take
//!  384  reserved to 512
//!  512  inline free area  1280
//! 1792
//! ```

use crate::fields::{get, get_u16, get_u64, put, put_u16, put_u64};
use crate::ids::{Pgno, Txnid};
use crate::tree_record::{OrderId, TREE_RECORD_BYTES, TreeRecord};
use crate::{FormatError, Result};

/// Where the body begins in a meta.
pub const HEAD_BODY_AT: usize = 56;
/// The length of the body in bytes.
pub const HEAD_BODY_BYTES: usize = 1736;
/// The length of the part of the body that a reader needs, in bytes: txnid through the catalog's tree record.
pub const HEAD_READ_BYTES: usize = FREE_AT;
/// The room for the inline free area in bytes.
pub const INLINE_FREE_BYTES: usize = 1280;

const TXNID_AT: usize = 56 - HEAD_BODY_AT;
const BASE_TXNID_AT: usize = 64 - HEAD_BODY_AT;
const PAGES_USED_AT: usize = 72 - HEAD_BODY_AT;
const DEFAULT_AT: usize = 80 - HEAD_BODY_AT;
const SEQUENCE_AT: usize = 144 - HEAD_BODY_AT;
const CATALOG_AT: usize = 152 - HEAD_BODY_AT;
const FREE_AT: usize = 216 - HEAD_BODY_AT;
const SNAPSHOTS_AT: usize = 280 - HEAD_BODY_AT;
const COMMITTED_AT_AT: usize = 344 - HEAD_BODY_AT;
const FREE_LEN_AT: usize = 352 - HEAD_BODY_AT;
const PAGES_IN_USE_AT: usize = 360 - HEAD_BODY_AT;
const SNAPSHOTS_IN_AT: usize = 368 - HEAD_BODY_AT;
const PAGES_AVAILABLE_AT: usize = 376 - HEAD_BODY_AT;
const INLINE_FREE_AT: usize = 512 - HEAD_BODY_AT;

const _: () = assert!(DEFAULT_AT + TREE_RECORD_BYTES == SEQUENCE_AT);
const _: () = assert!(SEQUENCE_AT + 8 == CATALOG_AT && CATALOG_AT + TREE_RECORD_BYTES == FREE_AT);
const _: () = assert!(FREE_AT + TREE_RECORD_BYTES == SNAPSHOTS_AT);
const _: () = assert!(SNAPSHOTS_AT + TREE_RECORD_BYTES == COMMITTED_AT_AT);
const _: () = assert!(INLINE_FREE_AT + INLINE_FREE_BYTES == HEAD_BODY_BYTES);
const _: () = assert!(HEAD_BODY_BYTES.is_multiple_of(8));

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadBody {
    /// The transaction. Never 0: that is what a reader slot says that pins nothing.
    pub txnid: Txnid,
    /// The durable snapshot it builds on.
    pub base_txnid: Txnid,
    /// The first page never allocated.
    pub pages_used: Pgno,
    /// The default table.
    pub default_table: TreeRecord,
    /// The default table's sequence.
    pub default_sequence: u64,
    /// The named tables.
    pub catalog: TreeRecord,
    /// The free space.
    pub free: TreeRecord,
    /// Named snapshots.
    pub snapshots: TreeRecord,
    /// The commit that last changed the tree of named snapshots; 0 if none has.
    pub snapshots_in: Txnid,
    /// When it was committed, in nanoseconds since 1970. Nothing depends on it.
    pub committed_at: u64,
    /// Pages that its trees take, and the values in pages of their own. The rest of the used part is free, or waits.
    pub pages_in_use: u64,
    /// Pages that are free and wait for no snapshot, here and in the free tree.
    pub pages_available: u64,
    free_len: u16,
    inline_free: [u8; INLINE_FREE_BYTES],
}

impl HeadBody {
    /// The body of an empty file: four empty trees and no free space.
    pub const fn empty(txnid: Txnid, pages_used: Pgno) -> HeadBody {
        let none = TreeRecord::empty(OrderId::Bytewise);
        HeadBody {
            txnid,
            base_txnid: txnid,
            pages_used,
            default_table: none,
            default_sequence: 0,
            catalog: none,
            free: none,
            snapshots: none,
            snapshots_in: Txnid(0),
            committed_at: 0,
            pages_in_use: 0,
            pages_available: 0,
            free_len: 0,
            inline_free: [0; INLINE_FREE_BYTES],
        }
    }

    /// The inline free area; [`InlineFree`](crate::free::list::InlineFree) reads it.
    pub fn inline_free(&self) -> &[u8] {
        self.inline_free.get(..usize::from(self.free_len)).unwrap_or_default()
    }

    /// Replaces the inline free area. Fails, changing nothing, if `area` is longer than 1280 bytes.
    pub fn set_inline_free(&mut self, area: &[u8]) -> Result<()> {
        let Some(room) = self.inline_free.get_mut(..area.len()) else {
            return Err(FormatError::BadFreeRecord("the inline area is longer than its room"));
        };
        room.copy_from_slice(area);
        if let Some(behind) = self.inline_free.get_mut(area.len()..) {
            behind.fill(0);
        }
        self.free_len = area.len() as u16;
        Ok(())
    }

    /// The body's bytes.
    pub fn encode(&self) -> [u8; HEAD_BODY_BYTES] {
        let mut body = [0; HEAD_BODY_BYTES];
        put_u64::<TXNID_AT, _>(&mut body, self.txnid.0);
        put_u64::<BASE_TXNID_AT, _>(&mut body, self.base_txnid.0);
        put_u64::<PAGES_USED_AT, _>(&mut body, self.pages_used.get());
        put::<DEFAULT_AT, TREE_RECORD_BYTES, _>(&mut body, self.default_table.encode());
        put_u64::<SEQUENCE_AT, _>(&mut body, self.default_sequence);
        put::<CATALOG_AT, TREE_RECORD_BYTES, _>(&mut body, self.catalog.encode());
        put::<FREE_AT, TREE_RECORD_BYTES, _>(&mut body, self.free.encode());
        put::<SNAPSHOTS_AT, TREE_RECORD_BYTES, _>(&mut body, self.snapshots.encode());
        put_u64::<COMMITTED_AT_AT, _>(&mut body, self.committed_at);
        put_u16::<FREE_LEN_AT, _>(&mut body, self.free_len);
        put_u64::<PAGES_IN_USE_AT, _>(&mut body, self.pages_in_use);
        put_u64::<PAGES_AVAILABLE_AT, _>(&mut body, self.pages_available);
        put_u64::<SNAPSHOTS_IN_AT, _>(&mut body, self.snapshots_in.0);
        put::<INLINE_FREE_AT, INLINE_FREE_BYTES, _>(&mut body, self.inline_free);
        body
    }

    /// Reads a body. Its trees must be sealed and lie in the file; the inline free area is only measured.
    pub fn decode(body: &[u8; HEAD_BODY_BYTES]) -> Result<HeadBody> {
        let bad = |why| Err(FormatError::BadMeta(crate::error::MetaFault::BadField(why)));
        let Some(pages_used) = Pgno::new(get_u64::<PAGES_USED_AT, _>(body)) else {
            return bad("it uses more pages than there are numbers");
        };
        let head = HeadBody {
            txnid: Txnid(get_u64::<TXNID_AT, _>(body)),
            base_txnid: Txnid(get_u64::<BASE_TXNID_AT, _>(body)),
            pages_used,
            default_table: TreeRecord::decode(&get::<DEFAULT_AT, TREE_RECORD_BYTES, _>(body))?,
            default_sequence: get_u64::<SEQUENCE_AT, _>(body),
            catalog: TreeRecord::decode(&get::<CATALOG_AT, TREE_RECORD_BYTES, _>(body))?,
            free: TreeRecord::decode(&get::<FREE_AT, TREE_RECORD_BYTES, _>(body))?,
            snapshots: TreeRecord::decode(&get::<SNAPSHOTS_AT, TREE_RECORD_BYTES, _>(body))?,
            snapshots_in: Txnid(get_u64::<SNAPSHOTS_IN_AT, _>(body)),
            committed_at: get_u64::<COMMITTED_AT_AT, _>(body),
            pages_in_use: get_u64::<PAGES_IN_USE_AT, _>(body),
            pages_available: get_u64::<PAGES_AVAILABLE_AT, _>(body),
            free_len: get_u16::<FREE_LEN_AT, _>(body),
            inline_free: get::<INLINE_FREE_AT, INLINE_FREE_BYTES, _>(body),
        };
        if head.txnid == Txnid(0) {
            return bad("its txnid is 0, which a reader slot cannot pin");
        }
        if head.base_txnid > head.txnid {
            return bad("it builds on a later transaction");
        }
        if head.snapshots_in > head.txnid {
            return bad("its snapshots were changed in a later transaction");
        }
        if head.pages_in_use.max(head.pages_available) > head.pages_used.get() {
            return bad("it counts more pages than it uses");
        }
        if usize::from(head.free_len) > INLINE_FREE_BYTES {
            return bad("its inline free area is longer than its room");
        }
        // The default table is in bytewise order by definition: it has no record that could name another.
        for tree in [&head.default_table, &head.catalog, &head.free, &head.snapshots] {
            if tree.order != OrderId::Bytewise {
                return bad("one of its trees is not in bytewise order");
            }
        }
        for tree in [&head.default_table, &head.catalog, &head.free, &head.snapshots] {
            if !tree.is_sealed() {
                return bad("one of its trees was never sealed");
            }
            if !tree.is_empty() && tree.root >= head.pages_used {
                return bad("the root of one of its trees lies outside the file");
            }
        }
        Ok(head)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::error::MetaFault;
    use proptest::prelude::*;

    fn pgno(number: u64) -> Pgno {
        Pgno::new(number).unwrap()
    }

    pub(crate) fn sample() -> HeadBody {
        let tree = |root| TreeRecord { root: pgno(root), depth: 1, root_tag: 9, ..TreeRecord::default() };
        let mut head = HeadBody::empty(Txnid(12), pgno(90));
        head.base_txnid = Txnid(10);
        head.default_table = tree(40);
        head.catalog = tree(41);
        head.free = tree(42);
        head.default_sequence = 77;
        head.committed_at = 1;
        head.pages_in_use = 3;
        head.set_inline_free(&[1, 1, 50, 2]).unwrap();
        head
    }

    #[test]
    fn a_body_reads_back() {
        assert_eq!(HeadBody::decode(&sample().encode()), Ok(sample()));
        let mut head = sample();
        head.set_inline_free(&[3; INLINE_FREE_BYTES]).unwrap();
        assert!(head.set_inline_free(&[3; INLINE_FREE_BYTES + 1]).is_err());
        assert_eq!(head.inline_free().len(), INLINE_FREE_BYTES);
        assert_eq!(HeadBody::decode(&head.encode()).as_ref(), Ok(&head));
        head.set_inline_free(&[1, 1, 50, 2]).unwrap();
        assert_eq!(head, sample());
    }

    #[test]
    fn a_bad_body_says_why() {
        type Change = fn(&mut HeadBody);
        let table: [(Change, &str); 11] = [
            (|h| h.txnid = Txnid(0), "its txnid is 0, which a reader slot cannot pin"),
            (|h| h.base_txnid = Txnid(13), "it builds on a later transaction"),
            (|h| h.snapshots_in = Txnid(13), "its snapshots were changed in a later transaction"),
            (|h| h.pages_in_use = 1 << 63, "it counts more pages than it uses"),
            (|h| h.pages_available = u64::MAX, "it counts more pages than it uses"),
            (|h| h.free_len = 1281, "its inline free area is longer than its room"),
            (|h| h.default_table.order = OrderId::Named, "one of its trees is not in bytewise order"),
            (|h| h.free.order = OrderId::Reverse, "one of its trees is not in bytewise order"),
            (|h| h.catalog.root_tag = 0, "one of its trees was never sealed"),
            (|h| h.pages_used = pgno(42), "the root of one of its trees lies outside the file"),
            (|h| h.snapshots.order = OrderId::Integer, "one of its trees is not in bytewise order"),
        ];
        for (change, why) in table {
            let mut head = sample();
            change(&mut head);
            let error = FormatError::BadMeta(MetaFault::BadField(why));
            assert_eq!(HeadBody::decode(&head.encode()), Err(error));
        }
        let mut body = sample().encode();
        body[PAGES_USED_AT + 6] = 1;
        let error = FormatError::BadMeta(MetaFault::BadField("it uses more pages than there are numbers"));
        assert_eq!(HeadBody::decode(&body), Err(error));
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]

        #[test]
        fn arbitrary_bytes_never_panic(changes: Vec<(u16, u8)>) {
            let mut body = sample().encode();
            for (at, byte) in changes {
                body[usize::from(at) % HEAD_BODY_BYTES] = byte;
            }
            if let Ok(head) = HeadBody::decode(&body) {
                let _ = head.inline_free();
                prop_assert_eq!(HeadBody::decode(&head.encode()), Ok(head));
            }
        }
    }
}
