//! What a user types: tables with the types of their keys and values.

mod codec;
#[cfg(all(test, feature = "seam"))]
mod cost_tests;
mod cursor;
mod detached;
mod detached_pair;
mod entry;
mod extract;
mod gap;
#[cfg(feature = "jiff")]
mod jiff;
mod lazy;
#[cfg(all(test, feature = "seam"))]
mod level_tests;
mod load;
#[cfg(feature = "serde")]
mod msgpack;
mod multimap;
mod owned;
mod pair_cursor;
mod pair_extract;
mod pair_gap;
mod pair_taking;
mod part;
mod pod;
mod read_multimap;
mod read_ranges;
mod read_table;
mod scan;
#[cfg(feature = "serde")]
mod serde;
mod table;
mod tuple;
#[cfg(feature = "uuid")]
mod uuid;
mod view;
mod write_multimap;
mod write_multimap_reading;
mod write_ranges;
mod write_reading;
mod write_table;

pub use codec::{Codec, Key};
pub use cursor::{Cursor, Range};
pub use detached::DetachedCursor;
pub use detached_pair::DetachedPairCursor;
pub use entry::{Entry, OccupiedEntry, VacantEntry};
pub use extract::ExtractIf;
pub use gap::{GapCursor, GapCursorMut};
pub use lazy::{Lazy, Undecoded};
pub use multimap::{Duplicates, Multimap};
pub use owned::Owned;
pub use pair_cursor::{Arrays, Chunks, PairCursor, PairRange, Values};
pub use pair_extract::PairExtractIf;
pub use pair_gap::{PairGapCursor, PairGapCursorMut};
pub use part::{KeyPart, Le, Part, Place};
#[doc(hidden)]
pub use pod::{bytes_in_place, read_in_place};
pub use pod::{Pod, PodVec};
pub use read_multimap::ReadMultimap;
pub use read_table::{ReadTable, TableStat};
#[cfg(feature = "serde")]
pub use serde::Serde;
pub use table::{Table, TableInfo};
#[doc(hidden)]
pub use tuple::len_of_both;
pub use tuple::{AsPart, Prefix};
pub use view::TxnView;
pub use write_multimap::WriteMultimap;
pub use write_table::WriteTable;
