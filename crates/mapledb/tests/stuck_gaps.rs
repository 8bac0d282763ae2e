//! Gap cursors at a page that cannot be read: they tell it, stand still, and tell it again.

mod files;

use std::ops::Bound;
use std::path::Path;

use files::{TestFile, open, options};
use mapledb::{Error, Multimap, Result, Table};

const TABLE: Table<'static, u32, [u8]> = Table::new("table");
const PAIRS: Multimap<'static, u32, u32> = Multimap::new("pairs");
const ENTRIES: u32 = 600;

/// How many steps, or removals, a gap does from one end before the first error, and whether the next try is an error, too.
fn steps(mut step: impl FnMut() -> Result<bool>) -> (u32, bool) {
    for done in 0.. {
        match step() {
            Ok(true) => {}
            Ok(false) => return (done, false),
            Err(error) => {
                assert!(matches!(error, Error::Corrupt { .. }), "{error}");
                return (done, step().is_err());
            }
        }
    }
    unreachable!("the steps are counted to their end")
}

/// The four ways to move through the file at `path`, each in a transaction that is given up.
fn in_four_ways(path: &Path) -> Result<Vec<(u32, bool)>> {
    let env = open(path, options())?;
    let mut ways = Vec::new();
    for removes in [false, true] {
        let mut txn = env.write()?;
        let mut table = txn.open_table(&TABLE)?;
        let mut gap = table.lower_bound_mut(Bound::Unbounded)?;
        ways.push(steps(|| match removes {
            false => Ok(gap.next()?.is_some()),
            true => Ok(gap.remove_next()?.is_some()),
        }));
        drop(txn);
        let mut txn = env.write()?;
        let mut pairs = txn.open_multimap(&PAIRS)?;
        let mut gap = pairs.upper_bound_mut(Bound::Unbounded)?;
        ways.push(steps(|| match removes {
            false => Ok(gap.prev()?.is_some()),
            true => Ok(gap.remove_prev()?.is_some()),
        }));
    }
    Ok(ways)
}

#[test]
fn a_gap_that_meets_a_damaged_page_does_not_take_it_for_the_end() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    for n in 0..ENTRIES {
        txn.open_table(&TABLE).expect("table").put(&n, &[7; 60]).expect("put");
        txn.open_multimap(&PAIRS).expect("multimap").insert(&(n / 2), &n).expect("insert");
    }
    txn.commit().expect("commit");
    // So the commit that recovery may go back to has them, too.
    for n in 0..2u8 {
        let mut txn = env.write().expect("write");
        txn.main().put(b"another", &[n]).expect("put");
        txn.commit().expect("commit");
    }
    env.close().expect("close");
    let whole = in_four_ways(file.path()).expect("nothing is damaged");
    assert_eq!(whole, [(ENTRIES, false); 4]);

    let bytes = std::fs::read(file.path()).expect("read");
    let damaged = file.dir().join("damaged.maple");
    let mut stops = [0; 4];
    // The first 32 pages are metas and their manifests.
    for page in 32..bytes.len() / 4096 {
        let mut bytes = bytes.clone();
        bytes[page * 4096 + 2048] ^= 1;
        std::fs::write(&damaged, bytes).expect("write");
        let Ok(ways) = in_four_ways(&damaged) else { continue };
        for (stops, (done, errs_again)) in stops.iter_mut().zip(ways) {
            assert_eq!(errs_again, done < ENTRIES, "page {page}, {done} steps");
            *stops += u32::from(done > 0 && done < ENTRIES);
        }
    }
    assert!(stops.iter().all(|stops| *stops > 0), "each way met a page on its way: {stops:?}");
}
