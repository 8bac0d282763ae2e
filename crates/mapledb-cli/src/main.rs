//! The maple command.
fn main() {}
