//! MapleDB: an embedded, transactional, ordered key-value store in one file.
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[doc(hidden)]
pub mod mvcc;

/// Tells a `tracing` subscriber, in builds with the feature; else nothing is evaluated.
#[cfg(not(loom))]
macro_rules! event {
    ($level:ident, $($what:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::$level!($($what)*);
    };
}

// Under loom only the protocol of shared memory is built: it is what the models run.
macro_rules! without_loom {
    ($($item:item)*) => { $(#[cfg(not(loom))] $item)* };
}

without_loom! {
    mod api;
    mod catalog;
    mod check;
    mod commit;
    mod dup;
    mod env;
    mod error;
    mod pages;
    mod space;
    mod store;
    mod tree;
    mod txn;

    pub use api::{
        Arrays, AsPart, Chunks, Codec, Cursor, DetachedCursor, DetachedPairCursor, Duplicates, Entry, ExtractIf, GapCursor, GapCursorMut, Key,
        KeyPart, Lazy, Le, Multimap, OccupiedEntry, Owned, PairCursor, PairExtractIf, PairGapCursor, PairGapCursorMut, PairRange, Part, Place, Pod, PodVec, Prefix, Range,
        ReadMultimap, ReadTable, Table, TableInfo, TableStat, TxnView, Undecoded, VacantEntry, Values, WriteMultimap,
        WriteTable,
    };
    #[cfg(feature = "serde")]
    pub use api::Serde;
    pub use check::{CheckHistograms, CheckLevel, CheckProblem, CheckProgress, CheckReport, HistogramRow};
    pub use commit::{Durability, Recovery};
    pub use env::{
        Access, CopyReport, Env, FreeSpace, Holder, HugePageState, HugePages, Image, ImageMemory, Info, LevelResidency,
        LockedBranches, Metrics, Options, PageKind, ProcessInfo, RunsOfSize, Scan, ScanAdvice, SnapshotInfo, SpaceMap, StageInfo,
        Stretch, TreeName, WaitingSpace,
    };
    pub use error::{Error, Result};
    pub use mapledb_os::MapAdvice;
    pub use pages::Pages;
    pub use space::Draft;
    pub use store::Verify;
    pub use tree::{KeyOrder, NamedOrder};
    #[cfg(feature = "derive")]
    pub use derived::{MapleKey, MapleValue};
    pub use txn::{
        Defragment, DefragmentProgress, DefragmentReport, Nested, ParkedTxn, PendingCommit, ReadTxn, ReaderInfo, ReaderPolicy,
        ResetTxn, Savepoint, Stopped, TrimReport, WriteTxn,
    };
}

#[cfg(feature = "derive")]
mod derived {
    /// Makes a type one of values: a struct whose fields are parts, or an enum of at most 256 such variants. It becomes
    /// a [`Part`](crate::Part), and so can stand in others.
    ///
    /// The fields are written one behind the other as in a tuple, and before those of an enum one byte that counts the
    /// variant from 0. A type that holds itself, in a list for example, does not compile.
    ///
    /// **What files record.** By default the name of the type and its structure, `User{id:u64,name:str}` in the example. So
    /// the type may move to another module, but when it or a field gets another name, place or type, a table made before is
    /// refused. With `#[maple(name = "user/1")]` files record that name alone, of ASCII letters, digits and `_-./:`. Then
    /// names in the source may change, and an enum may get variants at its end; that the bytes of older tables are still read
    /// rightly is your promise, and a new name breaks with them.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// use mapledb::{Env, MapleKey, MapleValue, Table};
    ///
    /// #[derive(MapleValue, Debug, PartialEq)]
    /// struct User {
    ///     id: u64,
    ///     name: String,
    /// }
    ///
    /// #[derive(MapleKey, MapleValue)]
    /// #[maple(name = "place/1")]
    /// enum Place {
    ///     Desk { floor: i8, number: u16 },
    ///     Remote,
    /// }
    ///
    /// const USERS: Table<'static, Place, User> = Table::new("users");
    ///
    /// // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// let env = unsafe { Env::options().create(dir.path().join("u.maple")) }?;
    /// let mut txn = env.write()?;
    /// let mut users = txn.open_table(&USERS)?;
    /// users.put(&Place::Remote, &User { id: 1, name: "ada".into() })?;
    /// users.put(&Place::Desk { floor: -1, number: 7 }, &User { id: 2, name: "grace".into() })?;
    /// assert_eq!(users.first()?.expect("two are there").1, User { id: 2, name: "grace".into() });
    /// let table = &txn.tables()?[1];
    /// assert_eq!((&*table.key_type, &*table.value_type), ("place/1", "User{id:u64,name:str}"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **In place.** With `#[maple(in_place)]` a struct that is [`bytemuck::Pod`](https://docs.rs/bytemuck) is read without a
    /// copy, as by [`Pod`](crate::Pod), and cannot stand in others; files record its fields too, with their types as the
    /// source writes them but for paths.
    ///
    /// ```
    /// use mapledb::{Codec, MapleValue};
    ///
    /// #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable, MapleValue)]
    /// #[repr(C)]
    /// #[maple(in_place)]
    /// struct Point {
    ///     x: f32,
    ///     y: f32,
    /// }
    ///
    /// assert_eq!(Point::type_name(), "pod:Point{x:f32,y:f32}/8/4");
    /// ```
    ///
    /// ```compile_fail
    /// use mapledb::{Codec, MapleValue};
    ///
    /// // Bytes could nest it deeper than any stack.
    /// #[derive(MapleValue)]
    /// struct Node {
    ///     children: Vec<Node>,
    /// }
    ///
    /// let _ = Node::decode(&[]);
    /// ```
    pub use mapledb_derive::MapleValue;

    /// Makes a type that derives [`MapleValue`] one of keys: a [`KeyPart`](crate::KeyPart). It sorts as a derived `Ord` does, by
    /// its first field, then by the second, and so on; an enum first by its variants as they are declared.
    ///
    /// Each field must be a [`KeyPart`](crate::KeyPart), and an enum must have no explicit discriminants.
    ///
    /// ```
    /// use mapledb::{Codec, MapleKey, MapleValue};
    ///
    /// #[derive(MapleKey, MapleValue)]
    /// struct Visit {
    ///     person: String,
    ///     year: i32,
    /// }
    ///
    /// let bytes = |person: &str, year| {
    ///     Visit::with_bytes(&Visit { person: person.into(), year }, |bytes| Ok(bytes.to_vec()))
    /// };
    /// assert!(bytes("ada", 1843)? < bytes("ada", 1844)?);
    /// assert!(bytes("ada", 1844)? < bytes("adam", -5)?);
    /// # Ok::<_, mapledb::Error>(())
    /// ```
    ///
    /// ```compile_fail
    /// use mapledb::{Le, MapleKey, MapleValue};
    ///
    /// // Little-endian numbers do not sort as their bytes do.
    /// #[derive(MapleKey, MapleValue)]
    /// struct Wrong(Le<u32>);
    /// ```
    pub use mapledb_derive::MapleKey;
}

/// What derived code calls.
#[cfg(not(loom))]
#[doc(hidden)]
pub mod __private {
    pub use crate::api::{bytes_in_place, len_of_both, read_in_place};
}

/// Compiles and runs the examples of the documents.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    mod readme {}
    #[doc = include_str!("../../../docs/README.md")]
    mod reading_order {}
    #[doc = include_str!("../../../docs/design.md")]
    mod design {}
    #[doc = include_str!("../../../docs/format.md")]
    mod format {}
    #[doc = include_str!("../../../docs/durability.md")]
    mod durability {}
    #[doc = include_str!("../../../docs/testing.md")]
    mod testing {}
    #[doc = include_str!("../../../docs/types.md")]
    mod types {}
}
