//! Multimaps: many sorted duplicates under one key, as a tenant of the tree.
//!
//! A multimap is a tree of keys in whose leaves the duplicates of a key stand in one of three forms, each of which grows out of
//! the one before: the one duplicate itself; a *sub-page*, which is a leaf within the leaf; a *nested tree*, of which that leaf
//! is the first page. All code that looks for, reads or changes duplicates is the tree's, run over a sub-page or over a nested
//! tree: a [`Path`](crate::tree::Path) goes along either, and [`LeafMut`](mapledb_format::leaf::LeafMut) changes both.
//!
//! | form | while | a change costs, beside the path to the key |
//! |---|---|---|
//! | inline | there is one, and it fits a cell | nothing |
//! | sub-page | they fit a quarter of a page | a move of bytes within the leaf, and of the sub-page when it has no room left |
//! | nested tree | else | a path of the nested tree |
//!
//! A nested tree that shrinks to one page an eighth full becomes a sub-page again, and a sub-page of one duplicate is that
//! duplicate. (The idea of a page within a node is LMDB's, `MDB_DUPSORT`; there it is a second set of cursors.)
//!
//! Subtree counts count pairs (see [`tree`](crate::tree)), so pairs are counted, ranked and found by their number in two
//! descents.

mod copy;
mod cursor;
mod cut;
mod form;
mod gap;
mod load;
mod place;
mod read;
mod retain;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use copy::copy_tree;
pub(crate) use cursor::PairCursor;
pub(crate) use cut::delete_range;
pub(crate) use gap::PairGap;
pub(crate) use load::Loader;
pub(crate) use place::{PairPlace, pair_in};
pub(crate) use read::{Chunks, PairBound, PairRange, contains, count_of};
pub(crate) use retain::retain;
pub(crate) use write::{append, delete, delete_key, insert, insert_all, pop};
