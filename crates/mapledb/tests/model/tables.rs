//! Operations on tables and snapshots as a whole.

use std::collections::BTreeMap;
use std::rc::Rc;

use mapledb::{Error, KeyOrder, Multimap, Table, WriteMultimap, WriteTable, WriteTxn};
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use super::pairs::{self, Places, Sets};
use super::{Model, Shape, Snapshots, World, entries};

/// A table as it is opened for changes.
enum Opened<'t> {
    Table(WriteTable<'t, [u8], [u8]>),
    Multimap(WriteMultimap<'t, [u8], [u8]>),
}

/// Opens the table of a model, and makes it if it is not there.
fn open<'t>(txn: &'t mut WriteTxn, name: &str, model: &Model) -> Opened<'t> {
    match &model.pairs {
        None if name.is_empty() => Opened::Table(txn.main()),
        None => Opened::Table(txn.open_table(&Table::<[u8], [u8]>::new(name)).expect("open")),
        Some(sets) => {
            let keys = Some(KeyOrder::BYTEWISE);
            let opened = txn.open_multimap_as(name, "bytes", "bytes", keys, sets.kind());
            Opened::Multimap(opened.expect("open"))
        }
    }
}

/// One table becomes what it is in a named snapshot, which there was before the transaction.
fn table_back(
    rng: &mut SmallRng,
    txn: &mut WriteTxn,
    name: &str,
    snapshot: Option<&World>,
    world: &mut World,
) {
    let at = rng.random_range(0..snapshot.map_or(1, BTreeMap::len));
    let table = snapshot.and_then(|world| world.keys().nth(at)).map_or("", String::as_str);
    let answer = txn.roll_back_table(name, Some(table).filter(|table| !table.is_empty()));
    match (answer, snapshot.and_then(|world| world.get(table))) {
        (Ok(entries), Some(model)) => {
            assert_eq!(entries, model.len());
            world.insert(table.to_string(), Rc::clone(model));
        }
        (Err(Error::SnapshotMissing { .. } | Error::SnapshotUncommitted { .. }), None) => {}
        (answer, model) => panic!("{name}: {answer:?}, and there is one: {}", model.is_some()),
    }
}

/// Named snapshots are made and dropped. Answers those there will be: what each holds, or nothing for what is committed.
pub fn snapshots_change(
    rng: &mut SmallRng,
    txn: &mut WriteTxn,
    before: &Snapshots,
    world: &mut World,
) -> BTreeMap<String, Option<World>> {
    let mut named: BTreeMap<_, _> =
        before.iter().map(|(name, world)| (name.clone(), Some(world.clone()))).collect();
    for _ in 0..rng.random_range(0..3) {
        let name = format!("s{}", rng.random_range(0..5));
        match rng.random_range(0..4) {
            0 => match txn.create_snapshot(&name) {
                Ok(()) => assert!(named.insert(name, None).is_none()),
                Err(Error::SnapshotExists { .. }) => assert!(named.contains_key(&name)),
                Err(other) => panic!("{other}"),
            },
            1 => assert_eq!(txn.drop_snapshot(&name).expect("drop"), named.remove(&name).is_some()),
            2 => {
                let was = named.get(&name).and_then(Option::as_ref);
                table_back(rng, txn, &name, was, world);
            }
            _ => {}
        }
    }
    named
}

/// A named table is made, renamed, emptied or dropped.
pub fn change(rng: &mut SmallRng, shape: &Shape, txn: &mut WriteTxn, world: &mut World) {
    let Some(name) = shape.table_names.choose(rng) else { return };
    match rng.random_range(0..9) {
        0..4 => {
            let model = world.entry(name.clone()).or_insert_with(|| {
                let pairs = rng.random_ratio(2, 3).then(|| Sets::new(pairs::kind(rng)));
                Rc::new(Model { pairs, ..Model::default() })
            });
            match open(txn, name, model) {
                Opened::Table(table) => assert_eq!(table.len(), model.len()),
                Opened::Multimap(table) => assert_eq!(table.len(), model.len()),
            }
        }
        4 => {
            let to = shape.table_names.choose(rng).expect("one at least");
            match txn.rename_table(name, to) {
                Ok(()) => {
                    let model = world.remove(name).expect("it was there");
                    assert!(world.insert(to.clone(), model).is_none());
                }
                Err(Error::TableMissing { .. }) => assert!(!world.contains_key(name)),
                Err(Error::TableExists { .. }) => assert!(world.contains_key(to)),
                Err(other) => panic!("{other}"),
            }
        }
        5 => {
            assert_eq!(txn.drop_table(name).expect("drop"), world.remove(name).is_some());
        }
        6 => match world.get_mut(name) {
            None => assert!(matches!(
                txn.table(&Table::<[u8], [u8]>::untyped(name)),
                Err(Error::TableMissing { .. })
            )),
            Some(model) => {
                match open(txn, name, model) {
                    Opened::Table(mut table) => table.clear().expect("clear"),
                    Opened::Multimap(mut table) => table.clear().expect("clear"),
                }
                let model = Rc::make_mut(model);
                model.entries.clear();
                model.pairs.iter_mut().for_each(Sets::clear);
            }
        },
        7 => refused_as_another(txn, name, world),
        _ => {
            let found: Vec<_> = txn.tables().expect("tables").into_iter().skip(1).collect();
            let named: Vec<_> = world.iter().skip(1).collect();
            assert_eq!(found.len(), named.len());
            for (info, (name, model)) in found.iter().zip(named) {
                assert_eq!(info.name.as_ref(), Some(name));
                assert_eq!(info.sequence, model.sequence);
                assert_eq!(info.stat.entries, model.len());
                assert_eq!(info.duplicates, model.pairs.as_ref().map(Sets::kind));
            }
        }
    }
}

/// A table is not opened as a multimap, nor the other way round.
fn refused_as_another(txn: &mut WriteTxn, name: &str, world: &World) {
    let as_table = txn.table(&Table::untyped(name)).err();
    let as_multimap = txn.multimap(&Multimap::untyped(name)).err();
    match world.get(name).map(|model| model.pairs.is_some()) {
        None => assert!(
            matches!(as_table, Some(Error::TableMissing { .. }))
                && matches!(as_multimap, Some(Error::TableMissing { .. }))
        ),
        Some(true) => {
            assert!(matches!(as_table, Some(Error::TableKind { .. })) && as_multimap.is_none())
        }
        Some(false) => {
            assert!(matches!(as_multimap, Some(Error::TableKind { .. })) && as_table.is_none())
        }
    }
}

/// One operation on what a table holds.
pub fn change_within(
    rng: &mut SmallRng,
    shape: &Shape,
    txn: &mut WriteTxn,
    world: &mut World,
    places: &mut Places,
) {
    let at = rng.random_range(0..world.len());
    let (name, model) = world.iter_mut().nth(at).expect("within");
    let opened = open(txn, name, model);
    let model = Rc::make_mut(model);
    match (opened, &mut model.pairs) {
        (Opened::Multimap(table), Some(sets)) => {
            pairs::change(rng, shape, table, sets, &mut model.sequence, places)
        }
        (Opened::Table(table), None) => entries::change(rng, shape, table, model),
        _ => unreachable!("it is opened as what it is"),
    }
}
