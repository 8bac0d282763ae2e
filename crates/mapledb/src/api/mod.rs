//! What a user types: tables with the types of their keys and values.

mod codec;
#[cfg(all(test, feature = "seam"))]
mod cost_tests;
mod cursor;
mod read_table;
mod table;
mod tuple;
mod write_table;

pub use codec::{Codec, Key, Pod};
pub use cursor::{Cursor, Range};
pub use read_table::{ReadTable, TableStat};
pub use table::{Table, TableInfo};
pub use tuple::KeyPart;
pub use write_table::WriteTable;
