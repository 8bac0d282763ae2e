//! Whole states beside their models.

use mapledb::{Multimap, ReadMultimap, ReadTxn, Table, TxnView};

use super::World;
use super::pairs::Sets;

/// Every table of an uncommitted transaction is its model, read in two threads at once.
pub fn shows(view: TxnView<'_>, world: &World) {
    type Shown = Vec<(String, u64, Vec<(Vec<u8>, Vec<u8>)>)>;
    let read = || -> Shown {
        let named = |info: mapledb::TableInfo| {
            if info.duplicates.is_some() {
                let name = info.name.unwrap_or_default();
                let table = view.multimap(&Multimap::untyped(&name)).expect("a multimap");
                let pairs = table.iter().expect("iter").map(|pair| pair.expect("sound"));
                let pairs = pairs.map(|(key, dup)| (key.to_vec(), dup.to_vec())).collect();
                return (name, info.sequence, pairs);
            }
            let table = match &info.name {
                None => view.main(),
                Some(name) => view.table(&Table::<[u8], [u8]>::new(name)),
            };
            let entries = table.expect("a table").iter().expect("iter").map(|entry| {
                let (key, value) = entry.expect("sound");
                (key.to_vec(), value.to_vec())
            });
            (info.name.unwrap_or_default(), info.sequence, entries.collect())
        };
        view.tables().expect("tables").into_iter().map(named).collect()
    };
    let (here, there) = std::thread::scope(|scope| {
        let there = scope.spawn(read);
        (read(), there.join().expect("no panic"))
    });
    assert!(here == there, "two threads read the same");
    assert_eq!(here.len(), world.len());
    for ((name, sequence, entries), (expected, model)) in here.iter().zip(world) {
        assert_eq!((name, *sequence), (expected, model.sequence));
        if let Some(sets) = &model.pairs {
            assert!(sets.iter().eq(entries.iter().cloned()), "multimap {name:?} differs");
            continue;
        }
        let expected = model.entries.iter().map(|(key, value)| (&key[..], &value[..]));
        assert!(
            entries.iter().map(|(key, value)| (&key[..], &value[..])).eq(expected),
            "table {name:?} differs"
        );
    }
}

/// Every table of the snapshot is its model, entry for entry.
pub fn holds(txn: &ReadTxn, world: &World) {
    let tables = txn.tables().expect("tables");
    assert_eq!(tables.len(), world.len());
    for (info, (name, model)) in tables.iter().zip(world) {
        assert_eq!((info.name.as_deref().unwrap_or(""), info.sequence), (&name[..], model.sequence));
        if let Some(sets) = &model.pairs {
            assert_eq!(info.duplicates, Some(sets.kind()));
            holds_pairs(&txn.multimap(&Multimap::untyped(name)).expect("a multimap"), sets);
            continue;
        }
        let table = match name.is_empty() {
            true => txn.main(),
            false => txn.table(&Table::<[u8], [u8]>::new(name)),
        }
        .expect("a table");
        assert_eq!(table.len(), model.entries.len() as u64);
        let mut found = table.iter().expect("iter");
        for (key, value) in &model.entries {
            let entry = found.next().expect("an entry").expect("sound");
            assert!(entry == (&key[..], &value[..]), "{key:?} differs in table {name:?}");
        }
        assert!(found.next().is_none());
    }
}

/// A multimap is its model: pair for pair, backwards too, and by its counts.
fn holds_pairs(table: &ReadMultimap<'_, [u8], [u8]>, sets: &Sets) {
    assert_eq!(table.len(), sets.len());
    let mut found = table.iter().expect("iter");
    for (at, (key, dup)) in sets.iter().enumerate() {
        let pair = found.next().expect("a pair").expect("sound");
        assert_eq!(pair, (&key[..], &dup[..]), "pair {at}");
        if at % 97 == 0 {
            assert_eq!(table.rank(&key, &dup).expect("rank"), at as u64);
            assert_eq!(table.nth(at as u64).expect("nth"), Some((&key[..], &dup[..])));
        }
    }
    assert!(found.next().is_none());
    let mut back = table.iter().expect("iter").rev().map(|pair| pair.expect("sound"));
    assert!(sets.iter().rev().all(|(key, dup)| back.next() == Some((&key[..], &dup[..]))), "backwards");
    for key in sets.keys() {
        assert_eq!(table.count_of(key).expect("count"), sets.count_of(key));
        let chunks = table.chunks(key).expect("chunks").map(|chunk| chunk.expect("sound"));
        assert!(chunks.flatten().copied().eq(sets.of(key).flatten()), "in bulk");
    }
}
