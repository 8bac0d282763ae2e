//! What a user types: tables with the types of their keys and values.

mod codec;
#[cfg(all(test, feature = "seam"))]
mod cost_tests;
mod cursor;
mod lazy;
mod part;
mod pod;
mod read_table;
mod table;
mod tuple;
mod write_table;

pub use codec::{Codec, Key};
pub use cursor::{Cursor, Range};
pub use lazy::{Lazy, Undecoded};
pub use part::{KeyPart, Le, Part, Place};
pub use pod::{Pod, PodVec};
pub use read_table::{ReadTable, TableStat};
pub use table::{Table, TableInfo};
pub use tuple::{AsPart, Prefix};
pub use write_table::WriteTable;
