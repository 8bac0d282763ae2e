//! MapleDB as it comes, and by option with another page size or verification policy.

use std::ops::Bound;
use std::path::{Path, PathBuf};

use mapledb::{Env, ReadTable, ReadTxn, Verify, WriteTxn};

use crate::Result;
use crate::engine::{Engine, Entry, Reader, Table, Writer};
use crate::machine;
use crate::workload::Key;

/// A MapleDB environment.
pub struct Maple {
    env: Env,
}

/// What differs from MapleDB's defaults; `None` is its default.
#[derive(Clone, Copy, Default)]
pub struct MapleSetup {
    /// Bytes of a page.
    pub page_size: Option<usize>,
    /// When pages are verified.
    pub verify: Option<Verify>,
    /// Bytes of address space to map ahead.
    pub reserve_bytes: Option<u64>,
}

impl Engine for Maple {
    const NAME: &'static str = "MapleDB";
    type Setup = MapleSetup;
    type Reader<'e> = ReadTxn;
    type Writer<'e> = WriteTxn;

    fn open(dir: &Path, _room_bytes: u64, setup: &MapleSetup) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut options = Env::options();
        if let Some(page_size) = setup.page_size {
            options = options.page_size(page_size);
        }
        if let Some(verify) = setup.verify {
            options = options.verify(verify);
        }
        if let Some(reserve_bytes) = setup.reserve_bytes {
            options = options.reserve_bytes(reserve_bytes);
        }
        // SAFETY: the directory is this run's own, and nothing else opens or changes the file in it.
        #[expect(unsafe_code, reason = "opening a file to map it")]
        let env = unsafe { options.open_or_create(dir.join("data.maple"))? };
        Ok(Self { env })
    }

    fn reader(&self) -> Result<ReadTxn> {
        Ok(self.env.read()?)
    }

    fn writer(&self) -> Result<WriteTxn> {
        Ok(self.env.write()?)
    }

    fn close(self) -> Result<()> {
        Ok(self.env.close()?)
    }

    fn data_file(&self) -> PathBuf {
        self.env.path().to_owned()
    }

    fn tree_bytes(&self) -> Result<u64> {
        let stat = self.env.read()?.main()?.stat();
        let pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
        Ok(pages * self.env.page_size() as u64)
    }

    fn version() -> String {
        machine::locked_version("mapledb").to_owned()
    }
}

impl Reader for ReadTxn {
    type Table<'t> = ReadTable<'t, [u8], [u8]>;

    #[inline]
    fn table(&self) -> Result<ReadTable<'_, [u8], [u8]>> {
        Ok(self.main()?)
    }
}

impl<'t> Table<'t> for ReadTable<'t, [u8], [u8]> {
    #[inline]
    fn get(self, key: &[u8]) -> Result<Option<&'t [u8]>> {
        Ok(ReadTable::get(&self, key)?)
    }

    #[inline]
    fn get_all(self, keys: &[Key], each: impl FnMut(Option<&'t [u8]>)) -> Result<()> {
        self.multi_get(keys.iter().map(|key| &key[..]))?.into_iter().for_each(each);
        Ok(())
    }

    #[inline]
    fn scan(self, mut each: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let mut seen = 0;
        for entry in self.iter()? {
            let (key, value) = entry?;
            each(key, value);
            seen += 1;
        }
        Ok(seen)
    }

    #[inline]
    fn range(self, from: &[u8], limit: usize, mut each: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let mut seen = 0;
        for entry in ReadTable::range(&self, (Bound::Included(from), Bound::Unbounded))?.take(limit) {
            let (key, value) = entry?;
            each(key, value);
            seen += 1;
        }
        Ok(seen)
    }
}

impl Writer for WriteTxn {
    fn put_all<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()> {
        let mut table = self.main();
        for (key, value) in entries {
            table.put(key, value)?;
        }
        Ok(())
    }

    fn append_all<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()> {
        let mut table = self.main();
        for (key, value) in entries {
            table.append(key, value)?;
        }
        Ok(())
    }

    fn load_sorted<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()> {
        self.main().load_sorted(entries.map(Ok))?;
        Ok(())
    }

    fn commit(self) -> Result<()> {
        WriteTxn::commit(self)?;
        Ok(())
    }
}
