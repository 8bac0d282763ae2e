//! MapleDB as a run sees it, and its transactions as the bank sees them.

use std::cell::RefCell;
use std::path::Path;

use mapledb::{Error, Multimap, ReadTxn, Table, WriteMultimap, WriteTxn};
use mapledb_os::Seam;

use super::bank::{self, Broken, Place, Reads, Visit, Writes};
use super::engine::Engine;
use super::law::Standing;
use super::part::{Part, Way};
use super::status::{Phase, Word};
use crate::actor::Role;
use crate::verify::{self, said};

/// MapleDB.
#[derive(Clone, Copy, Debug)]
pub struct Maple;

impl Engine for Maple {
    fn name(&self) -> &'static str {
        "maple"
    }

    fn phases(&self) -> &'static [Phase] {
        &Phase::ALL
    }

    fn counts(&self) -> &'static [(&'static str, Word)] {
        &[("forked children", Word::ForksSound)]
    }

    fn gives_txnids_once(&self) -> bool {
        true
    }

    fn role(&self, part: Part) -> Role {
        Role::Bank(part)
    }

    fn found(&self, data: &Path, way: &Way) -> Result<(), Broken> {
        let env = way.open(data, Seam::unwatched()).map_err(said("the file cannot be made"))?;
        let mut txn = env.write().map_err(said("write"))?;
        bank::found(&mut Writing::new(&mut txn), &way.size)?;
        for place in [Place::Journal, Place::Ballast] {
            txn.open_table(&table(place.name().unwrap_or_default())).map_err(said("open a table"))?;
        }
        txn.commit().map_err(said("commit"))?;
        env.close().map_err(said("close"))
    }

    fn examine(&self, data: &Path, way: &Way) -> Result<Standing, Broken> {
        let env = way.open(data, Seam::unwatched()).map_err(said("it cannot be opened"))?;
        let txn = env.read().map_err(said("a read cannot begin"))?;
        let standing = Standing::of(&txn, txn.txnid(), &way.size)?;
        drop(txn);
        verify::checks_clean(&env)?;
        env.close().map_err(said("it cannot be closed"))?;
        Ok(standing)
    }

    fn remove(&self, data: &Path) {
        let _ = std::fs::remove_file(data);
        let _ = std::fs::remove_file(mapledb::mvcc::lock_path(data));
    }
}

fn broken(error: Error) -> Broken {
    error.to_string()
}

fn table(name: &'static str) -> Table<'static, [u8], [u8]> {
    Table::new(name)
}

/// A place that is a multimap.
fn multimap(place: Place) -> Multimap<'static, [u8], [u8; 8]> {
    Multimap::new(place.name().unwrap_or_default())
}

/// Visits entries or pairs until one is enough.
fn visit_all<'t, V: AsRef<[u8]>>(
    entries: impl Iterator<Item = mapledb::Result<(&'t [u8], V)>>,
    visit: &mut Visit<'_>,
) -> Result<(), Broken> {
    for entry in entries {
        let (key, value) = entry.map_err(broken)?;
        if !visit(key, value.as_ref())? {
            break;
        }
    }
    Ok(())
}

impl Reads for ReadTxn {
    fn get(&self, place: Place, key: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        let table = match place.name() {
            None => self.main(),
            Some(name) => self.table(&table(name)),
        };
        let value = table.and_then(|table| Ok(table.get(key)?.map(<[u8]>::to_vec)));
        value.map_err(broken)
    }

    fn each(&self, place: Place, from: &[u8], visit: &mut Visit<'_>) -> Result<(), Broken> {
        if place.is_multimap() {
            let pairs = self.multimap(&multimap(place)).and_then(|table| table.range(from..));
            return visit_all(pairs.map_err(broken)?, visit);
        }
        let table = match place.name() {
            None => self.main(),
            Some(name) => self.table(&table(name)),
        };
        visit_all(table.and_then(|table| table.range(from..)).map_err(broken)?, visit)
    }

    fn count(&self, place: Place) -> Result<u64, Broken> {
        if place.is_multimap() {
            return Ok(self.multimap(&multimap(place)).map_err(broken)?.len());
        }
        let table = match place.name() {
            None => self.main(),
            Some(name) => self.table(&table(name)),
        };
        Ok(table.map_err(broken)?.len())
    }
}

/// A write transaction. Its tables are opened as they are needed, and made if they are not there.
pub struct Writing<'t>(RefCell<&'t mut WriteTxn>);

impl<'t> Writing<'t> {
    /// Around a transaction.
    pub fn new(txn: &'t mut WriteTxn) -> Writing<'t> {
        Writing(RefCell::new(txn))
    }

    fn with<R>(
        &self,
        place: Place,
        act: impl FnOnce(mapledb::WriteTable<'_, [u8], [u8]>) -> mapledb::Result<R>,
    ) -> Result<R, Broken> {
        let mut txn = self.0.borrow_mut();
        let table = match place.name() {
            None => Ok(txn.main()),
            Some(name) => txn.open_table(&table(name)),
        };
        table.and_then(act).map_err(broken)
    }
}

impl Writing<'_> {
    fn with_pairs<R>(
        &self,
        place: Place,
        act: impl FnOnce(WriteMultimap<'_, [u8], [u8; 8]>) -> Result<R, Broken>,
    ) -> Result<R, Broken> {
        let mut txn = self.0.borrow_mut();
        act(txn.open_multimap(&multimap(place)).map_err(broken)?)
    }
}

impl Reads for Writing<'_> {
    fn get(&self, place: Place, key: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        self.with(place, |table| Ok(table.get(key)?.map(<[u8]>::to_vec)))
    }

    fn each(&self, place: Place, from: &[u8], visit: &mut Visit<'_>) -> Result<(), Broken> {
        if place.is_multimap() {
            return self.with_pairs(place, |table| {
                let pairs = table.reading().and_then(|reading| reading.range(from..));
                visit_all(pairs.map_err(broken)?, visit)
            });
        }
        let mut answer = Ok(());
        self.with(place, |table| {
            answer = visit_all(table.range(from..)?, visit);
            Ok(())
        })?;
        answer
    }

    fn count(&self, place: Place) -> Result<u64, Broken> {
        match place.is_multimap() {
            true => self.with_pairs(place, |table| Ok(table.len())),
            false => self.with(place, |table| Ok(table.len())),
        }
    }
}

impl Writes for Writing<'_> {
    fn put(&mut self, place: Place, key: &[u8], value: &[u8]) -> Result<(), Broken> {
        if place.is_multimap() {
            let dup = value.try_into().map_err(|_| format!("{} bytes are no duplicate", value.len()))?;
            return self.with_pairs(place, |mut table| table.insert(key, dup).map(drop).map_err(broken));
        }
        self.with(place, |mut table| table.put(key, value))
    }

    fn delete(&mut self, place: Place, key: &[u8]) -> Result<(), Broken> {
        self.with(place, |mut table| table.delete(key).map(drop))
    }

    fn delete_pair(&mut self, place: Place, key: &[u8], dup: &[u8]) -> Result<(), Broken> {
        let dup = dup.try_into().map_err(|_| format!("{} bytes are no duplicate", dup.len()))?;
        match self.with_pairs(place, |mut table| table.delete(key, dup).map_err(broken))? {
            true => Ok(()),
            false => Err(format!("the pair {key:02x?}, {dup:02x?} is missing")),
        }
    }
}
