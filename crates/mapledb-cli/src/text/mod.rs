//! Keys and values as text: what a user types and reads, by the types that a table records.

mod float;
pub mod form;
mod integer;
pub mod json;
mod name;
mod part;
pub mod types;
mod word;

pub use types::Type;
