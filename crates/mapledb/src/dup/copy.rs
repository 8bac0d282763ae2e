//! Whole trees laid down in others, multimaps among them.

use mapledb_format::TreeRecord;
use mapledb_format::order::Order;

use super::{Loader, PairRange};
use crate::error::Result;
use crate::pages::{Pages, PagesMut};
use crate::tree::{Appender, Cursor, KeyOrder, Tree, TreeMut};

/// Lays the entries of one tree down in another, in the order in which they are stored; `each` is called for every one.
///
/// Cost: every page of the tree is read once; the other is packed full.
pub(crate) fn copy_tree<P: Pages, Q: PagesMut, O: Order>(
    from: &P,
    record: &TreeRecord,
    to: &mut TreeMut<'_, Q, O>,
    each: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    if record.duplicates.is_some() {
        return copy_pairs(from, record, to, each);
    }
    let mut cursor = Cursor::new(Tree::new(from, record));
    let mut appender = Appender::new(to)?;
    while let Some((key, value)) = cursor.next()? {
        appender.push(key, value)?;
        each()?;
    }
    appender.finish()
}

/// As [`copy_tree`], of a multimap.
fn copy_pairs<P: Pages, Q: PagesMut, O: Order>(
    from: &P,
    record: &TreeRecord,
    to: &mut TreeMut<'_, Q, O>,
    each: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let tree = Tree::in_order(from, record, KeyOrder::recorded(record.order));
    let mut pairs = PairRange::all(tree)?;
    let mut loader = Loader::as_stored(to)?;
    while let Some((key, dup)) = pairs.next()? {
        loader.push(key, dup)?;
        each()?;
    }
    loader.finish()
}
