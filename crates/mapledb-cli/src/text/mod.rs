//! Keys and values as text: what a user types and reads, by the types that a table records.

pub mod form;
pub mod json;
mod tuple;
pub mod types;

pub use types::Type;
