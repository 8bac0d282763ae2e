//! The named tables that a write transaction has opened, with what each level must find again.

use std::collections::BTreeMap;

use mapledb_format::TableRecord;

/// A named table that the transaction has opened.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) name: String,
    pub(super) record: TableRecord,
    pub(super) is_changed: bool,
    /// The change of the transaction that was this table's last, or its opening.
    pub(super) changed_at: u64,
}

/// The open tables. Each keeps its place, so that a place means one table whatever is dropped or taken back.
#[derive(Debug, Default)]
pub(super) struct Tables {
    places: Vec<Option<Opened>>,
    /// The last one last.
    levels: Vec<Level>,
}

/// What a level must find again.
#[derive(Debug)]
struct Level {
    /// How many places there were.
    len: usize,
    /// What a place held that has changed since.
    was: BTreeMap<usize, Option<Opened>>,
}

impl Tables {
    pub(super) fn place_of(&self, name: &str) -> Option<usize> {
        self.places.iter().position(|table| table.as_ref().is_some_and(|table| table.name == name))
    }

    #[inline]
    pub(super) fn at(&self, place: usize) -> &Opened {
        self.places[place].as_ref().expect("the handle of a table borrows the transaction, so the table is there")
    }

    /// A table to change.
    #[inline]
    pub(super) fn at_mut(&mut self, place: usize) -> &mut Opened {
        if !self.levels.is_empty() {
            self.keep(place);
        }
        self.places[place].as_mut().expect("the handle of a table borrows the transaction, so the table is there")
    }

    /// Opens a table; answers its place.
    pub(super) fn open(&mut self, table: Opened) -> usize {
        self.places.push(Some(table));
        self.places.len() - 1
    }

    /// Forgets a table that was dropped.
    pub(super) fn remove(&mut self, place: usize) {
        self.keep(place);
        self.places[place] = None;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Opened> {
        self.places.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Opened> {
        self.places.iter_mut().flatten()
    }

    fn keep(&mut self, place: usize) {
        if let Some(level) = self.levels.last_mut()
            && place < level.len
        {
            level.was.entry(place).or_insert_with(|| self.places[place].clone());
        }
    }

    pub(super) fn begin_level(&mut self) {
        self.levels.push(Level { len: self.places.len(), was: BTreeMap::new() });
    }

    pub(super) fn undo_level(&mut self) {
        let Some(level) = self.levels.pop() else { return };
        self.places.truncate(level.len);
        for (place, table) in level.was {
            self.places[place] = table;
        }
    }

    pub(super) fn merge_level(&mut self) {
        let top = self.levels.pop();
        if let Some((top, below)) = top.zip(self.levels.last_mut()) {
            for (place, table) in top.was.into_iter().filter(|(place, _)| *place < below.len) {
                below.was.entry(place).or_insert(table);
            }
        }
    }
}
