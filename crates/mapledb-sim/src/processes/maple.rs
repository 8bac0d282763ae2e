//! MapleDB's transactions as the bank sees them.

use std::cell::RefCell;

use mapledb::{Error, ReadTxn, Table, WriteTxn};

use super::bank::{Broken, Place, Reads, Visit, Writes};

fn broken(error: Error) -> Broken {
    error.to_string()
}

fn table(name: &'static str) -> Table<'static, [u8], [u8]> {
    Table::new(name)
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
        let table = match place.name() {
            None => self.main(),
            Some(name) => self.table(&table(name)),
        };
        for entry in table.and_then(|table| table.range(from..)).map_err(broken)? {
            let (key, value) = entry.map_err(broken)?;
            if !visit(key, value)? {
                break;
            }
        }
        Ok(())
    }

    fn count(&self, place: Place) -> Result<u64, Broken> {
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

impl Reads for Writing<'_> {
    fn get(&self, place: Place, key: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        self.with(place, |table| Ok(table.get(key)?.map(<[u8]>::to_vec)))
    }

    fn each(&self, place: Place, from: &[u8], visit: &mut Visit<'_>) -> Result<(), Broken> {
        let mut refused = None;
        self.with(place, |table| {
            for entry in table.range(from..)? {
                let (key, value) = entry?;
                match visit(key, value) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(why) => {
                        refused = Some(why);
                        break;
                    }
                }
            }
            Ok(())
        })?;
        refused.map_or(Ok(()), Err)
    }

    fn count(&self, place: Place) -> Result<u64, Broken> {
        self.with(place, |table| Ok(table.len()))
    }
}

impl Writes for Writing<'_> {
    fn put(&mut self, place: Place, key: &[u8], value: &[u8]) -> Result<(), Broken> {
        self.with(place, |mut table| table.put(key, value))
    }

    fn delete(&mut self, place: Place, key: &[u8]) -> Result<(), Broken> {
        self.with(place, |mut table| table.delete(key).map(drop))
    }
}
