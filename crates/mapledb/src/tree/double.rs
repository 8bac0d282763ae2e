//! Pages in memory, for tests: committed ones verified at every touch, own ones tracked, freed ones gone.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use mapledb_format::header;
use mapledb_format::overflow::{OverflowRef, Run, RunGeometry};
use mapledb_format::{FormatError, PageSize, Pgno, Txnid};

use super::{PageRef, Pages, PagesMut, corrupt};
use crate::error::Result;

/// A page store that is a map. It hands out each number once, so that a page used after it was freed is missed.
pub(crate) struct Double {
    size: PageSize,
    txnid: Txnid,
    next: u64,
    runs: BTreeMap<u64, Vec<u8>>,
    own: std::collections::BTreeSet<u64>,
    touches: Cell<u64>,
    asked: RefCell<Vec<Pgno>>,
}

impl Double {
    pub(crate) fn new(page_bytes: usize) -> Double {
        let size = PageSize::new(page_bytes).unwrap();
        let next = size.first_data_pgno().get();
        Double {
            size,
            txnid: Txnid(1),
            next,
            runs: BTreeMap::new(),
            own: Default::default(),
            touches: Cell::new(0),
            asked: RefCell::default(),
        }
    }

    /// Makes all own pages committed ones.
    pub(crate) fn commit(&mut self) {
        self.own.clear();
        self.txnid = Txnid(self.txnid.0 + 1);
    }

    /// How many pages are held.
    pub(crate) fn held(&self) -> u64 {
        self.runs.values().map(|run| self.size.pages_for(run.len() as u64)).sum()
    }

    /// How many pages were read since this was last asked.
    pub(crate) fn take_touches(&self) -> u64 {
        self.touches.replace(0)
    }

    /// The pages that were said to be needed since this was last asked.
    pub(crate) fn take_asked(&self) -> Vec<Pgno> {
        self.asked.take()
    }

    fn at(&self, pgno: Pgno) -> Result<&[u8]> {
        self.touches.set(self.touches.get() + 1);
        self.runs
            .get(&pgno.get())
            .map(|run| &run[..])
            .ok_or_else(|| corrupt(pgno, FormatError::TooShort { what: "file" }))
    }
}

impl Pages for Double {
    fn page_size(&self) -> PageSize {
        self.size
    }

    fn page(&self, at: PageRef) -> Result<&[u8]> {
        let page = self.at(at.pgno)?;
        if at.is_own() {
            assert!(self.own.contains(&at.pgno.get()), "page {} is not own", at.pgno);
        } else {
            header::verify(page, at.pgno, at.tag, self.txnid).map_err(|cause| corrupt(at.pgno, cause))?;
        }
        Ok(page)
    }

    fn run(&self, at: &OverflowRef) -> Result<&[u8]> {
        let run = self.at(at.pgno)?;
        if at.tag != 0 {
            header::check_identity(run, at.pgno, at.tag, self.txnid)
                .and_then(|()| Run::open(run, self.size)?.check_all())
                .map_err(|cause| corrupt(at.pgno, cause))?;
        }
        Ok(run)
    }

    fn will_need(&self, pages: &[Pgno]) {
        self.asked.borrow_mut().extend(pages);
    }
}

impl PagesMut for Double {
    fn txnid(&self) -> Txnid {
        self.txnid
    }

    fn allocate(&mut self, pages: u64) -> Result<Pgno> {
        let first = self.next;
        self.next += pages;
        self.runs.insert(first, vec![0xee; (pages as usize) << self.size.shift()]);
        self.own.insert(first);
        Ok(Pgno::new(first).unwrap())
    }

    fn owns(&self, at: PageRef) -> bool {
        self.own.contains(&at.pgno.get())
    }

    fn free(&mut self, first: Pgno, pages: u64, born: Txnid) -> Result<()> {
        let run = self.runs.remove(&first.get()).expect("a page is freed once");
        assert_eq!(self.size.pages_for(run.len() as u64), pages);
        assert_eq!(born == self.txnid, self.own.remove(&first.get()), "born in {born}");
        Ok(())
    }

    fn copy(&mut self, at: PageRef) -> Result<Pgno> {
        let mut page = self.page(at)?.to_vec();
        let born = header::stored_txnid(&page).unwrap();
        let to = self.allocate(1)?;
        header::renumber(&mut page, to, self.txnid);
        self.own_mut(to, 1)?.copy_from_slice(&page);
        self.free(at.pgno, 1, born)?;
        Ok(to)
    }

    fn copy_run(&mut self, at: &OverflowRef) -> Result<Pgno> {
        let bytes = self.run(at)?.to_vec();
        let pages = self.size.pages_for(bytes.len() as u64);
        let to = self.allocate(pages)?;
        self.own_mut(to, pages)?.copy_from_slice(&bytes);
        Ok(to)
    }

    fn own_mut(&mut self, first: Pgno, pages: u64) -> Result<&mut [u8]> {
        assert!(self.own.contains(&first.get()), "page {first} is not own");
        let len = (pages as usize) << self.size.shift();
        Ok(&mut self.runs.get_mut(&first.get()).unwrap()[..len])
    }
}

#[test]
fn a_run_is_as_long_as_its_geometry() {
    let geometry = RunGeometry::of(10_000, PageSize::MIN).unwrap();
    assert_eq!(geometry.pages, 3);
}
