//! LMDB as a run sees it, by the `heed` crate, and what one of its processes does; behind the feature `lmdb`.
//!
//! Its processes do what MapleDB's do, as far as LMDB can: commits of transfers and ballast, some given up, all durable;
//! audits of snapshots, some of them held; closing and opening again. As its manual asks, whoever opens it clears the
//! reader slots of the dead. The table of the generation has a name here, for LMDB keeps the other names in its default
//! one. Of a [`Way`] only the bank, the ballast, the holding and the reopening apply.
//!
//! Nobody forks: an environment of LMDB may not be used in a forked child, nor refuses it. Nothing is said from inside
//! a commit but that it goes on, and there is no full check but the audit, since LMDB has none.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, DatabaseFlags, Env, EnvFlags, EnvOpenOptions, RoTxn, RwTxn, WithTls};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::bank::{self, Broken, Place, Reads, Visit, Writes};
use super::engine::Engine;
use super::law::{Onlooker, Standing};
use super::part::{Part, Way};
use super::status::{Outcome, Phase, RunWord, Status, Word};
use super::voice::Voice;
use crate::actor::Role;

/// What MapleDB's processes reserve, too.
const MAP_BYTES: usize = 1 << 34;

fn said(what: &str) -> impl Fn(heed::Error) -> Broken {
    move |error| format!("{what}: {error}")
}

/// LMDB.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Lmdb {
    /// Whether it keeps its processes apart by its lock file. Without, it is broken as soon as there are two, which
    /// shows that a run notices.
    pub is_locked: bool,
}

impl Engine for Lmdb {
    fn name(&self) -> &'static str {
        "lmdb"
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::Idle, Phase::Open, Phase::Lock, Phase::Claim, Phase::Read, Phase::Stores, Phase::Close]
    }

    fn counts(&self) -> &'static [(&'static str, Word)] {
        &[("reader slots of the dead, cleared", Word::SlotsCleared)]
    }

    fn gives_txnids_once(&self) -> bool {
        false
    }

    fn role(&self, part: Part) -> Role {
        Role::Lmdb(*self, part)
    }

    fn found(&self, data: &Path, way: &Way) -> Result<(), Broken> {
        std::fs::create_dir_all(data).map_err(|error| error.to_string())?;
        let env = self.open(data)?;
        let tables = Tables::make(&env)?;
        let mut txn = env.write_txn().map_err(said("write"))?;
        bank::found(&mut Writing { txn: &mut txn, tables: &tables }, &way.size)?;
        txn.commit().map_err(said("commit"))?;
        env.prepare_for_closing().wait();
        Ok(())
    }

    fn examine(&self, data: &Path, way: &Way) -> Result<Standing, Broken> {
        let env = self.open(data)?;
        let tables = Tables::open(&env)?;
        let txn = env.read_txn().map_err(said("a read cannot begin"))?;
        let standing = Standing::of(&Reading { txn: &txn, tables: &tables }, txn.id() as u64, &way.size)?;
        drop(txn);
        env.prepare_for_closing().wait();
        Ok(standing)
    }

    fn remove(&self, data: &Path) {
        let _ = std::fs::remove_dir_all(data);
    }
}

impl Lmdb {
    #[allow(unsafe_code)]
    fn open(self, data: &Path) -> Result<Env, Broken> {
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP_BYTES).max_dbs(Place::ALL.len() as u32);
        if !self.is_locked {
            // SAFETY: nothing is safe about it. It is for processes of a test alone, which are to go wrong, on a file of
            // their own.
            unsafe { options.flags(EnvFlags::NO_LOCK) };
        }
        // SAFETY: the processes of a run are alone with its directory, and each opens it once at a time.
        unsafe { options.open(data) }.map_err(said("open"))
    }
}

type BytesDb = Database<'static, Bytes, Bytes>;

struct Tables([BytesDb; Place::ALL.len()]);

impl Tables {
    fn name(place: Place) -> &'static str {
        place.name().unwrap_or("main")
    }

    fn make(env: &Env) -> Result<Tables, Broken> {
        let txn = env.write_txn().map_err(said("write"))?;
        let made = env.create_databases_and_commit(txn, |opener, txn| {
            let mut make = |place: Place| {
                let mut options = opener.database_options().types::<Bytes, Bytes>();
                if place.is_multimap() {
                    options.flags(DatabaseFlags::DUP_SORT | DatabaseFlags::DUP_FIXED);
                }
                options.name(Tables::name(place)).create(txn)
            };
            let [main, accounts, journal, ballast, index] = Place::ALL;
            let made = (make(main)?, make(accounts)?, make(journal)?, make(ballast)?, make(index)?);
            heed::Result::Ok(CommitOrAbort::<_, ()>::Commit(made))
        });
        let (main, accounts, journal, ballast, index) = made.map_err(said("make tables"))?.unwrap_commit();
        Ok(Tables([main, accounts, journal, ballast, index]))
    }

    fn open(env: &Env) -> Result<Tables, Broken> {
        let txn = env.read_txn().map_err(said("read"))?;
        let opened = env.open_databases_and_commit(txn, |opener, txn| {
            let open = |place| opener.open_database::<Bytes, Bytes>(txn, Some(Tables::name(place)));
            let [main, accounts, journal, ballast, index] = Place::ALL;
            let opened = (open(main)?, open(accounts)?, open(journal)?, open(ballast)?, open(index)?);
            heed::Result::Ok(CommitOrAbort::<_, ()>::Commit(opened))
        });
        match opened.map_err(said("open tables"))?.unwrap_commit() {
            (Some(main), Some(accounts), Some(journal), Some(ballast), Some(index)) => {
                Ok(Tables([main, accounts, journal, ballast, index]))
            }
            _ => Err("a table is missing".to_string()),
        }
    }

    fn at(&self, place: Place) -> &BytesDb {
        &self.0[place as usize]
    }

    fn get(&self, txn: &RoTxn<'_>, place: Place, key: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        let value = self.at(place).get(txn, key).map_err(said("get"))?;
        Ok(value.map(<[u8]>::to_vec))
    }

    fn each(&self, txn: &RoTxn<'_>, place: Place, from: &[u8], visit: &mut Visit<'_>) -> Result<(), Broken> {
        // LMDB knows no empty key, not even to begin from.
        let from = if from.is_empty() { Bound::Unbounded } else { Bound::Included(from) };
        let entries = self.at(place).range(txn, &(from, Bound::Unbounded));
        for entry in entries.map_err(said("range"))? {
            let (key, value) = entry.map_err(said("range"))?;
            if !visit(key, value)? {
                break;
            }
        }
        Ok(())
    }

    fn count(&self, txn: &RoTxn<'_>, place: Place) -> Result<u64, Broken> {
        self.at(place).len(txn).map_err(said("len"))
    }
}

struct Reading<'t> {
    txn: &'t RoTxn<'t, WithTls>,
    tables: &'t Tables,
}

impl Reads for Reading<'_> {
    fn get(&self, place: Place, key: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        self.tables.get(self.txn, place, key)
    }

    fn each(&self, place: Place, from: &[u8], visit: &mut Visit<'_>) -> Result<(), Broken> {
        self.tables.each(self.txn, place, from, visit)
    }

    fn count(&self, place: Place) -> Result<u64, Broken> {
        self.tables.count(self.txn, place)
    }
}

struct Writing<'t, 'e> {
    txn: &'t mut RwTxn<'e>,
    tables: &'t Tables,
}

impl Reads for Writing<'_, '_> {
    fn get(&self, place: Place, key: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        self.tables.get(self.txn, place, key)
    }

    fn each(&self, place: Place, from: &[u8], visit: &mut Visit<'_>) -> Result<(), Broken> {
        self.tables.each(self.txn, place, from, visit)
    }

    fn count(&self, place: Place) -> Result<u64, Broken> {
        self.tables.count(self.txn, place)
    }
}

impl Writes for Writing<'_, '_> {
    fn put(&mut self, place: Place, key: &[u8], value: &[u8]) -> Result<(), Broken> {
        self.tables.at(place).put(self.txn, key, value).map_err(said("put"))
    }

    fn delete(&mut self, place: Place, key: &[u8]) -> Result<(), Broken> {
        self.tables.at(place).delete(self.txn, key).map(drop).map_err(said("delete"))
    }

    fn delete_pair(&mut self, place: Place, key: &[u8], dup: &[u8]) -> Result<(), Broken> {
        let deleted = self.tables.at(place).delete_one_duplicate(self.txn, key, dup);
        match deleted.map_err(said("delete a duplicate"))? {
            true => Ok(()),
            false => Err(format!("the pair {key:02x?}, {dup:02x?} is missing")),
        }
    }
}

/// Plays a part.
///
/// # Errors
/// What LMDB said where it should have gone well, and what does not hold of a snapshot.
pub fn play(lmdb: Lmdb, part: &Part) -> Result<(), Broken> {
    part.live(|| {
        let status = Arc::new(Status::open(&part.status).map_err(|error| error.to_string())?);
        let voice = Voice::new(Arc::clone(&status), part.place, part.seed);
        let rng = SmallRng::seed_from_u64(part.seed);
        let mut player =
            Player { lmdb, part, status, voice, rng, number: None, onlooker: Onlooker::default() };
        while player.goes_on() {
            player.open_and_work()?;
        }
        Ok(())
    })
}

struct Player<'p> {
    lmdb: Lmdb,
    part: &'p Part,
    status: Arc<Status>,
    voice: Voice,
    rng: SmallRng,
    /// How many commits it has made, over all its lives; unknown until it writes. A commit whose process died just before
    /// it published it shows to nobody until there is a next writer, so a read would not count it.
    number: Option<u64>,
    onlooker: Onlooker,
}

impl Player<'_> {
    fn goes_on(&self) -> bool {
        self.status.run(RunWord::Stop).load(Ordering::Relaxed) == 0
    }

    fn one_in(&mut self, times: u32) -> bool {
        self.rng.random_ratio(1, times.max(1))
    }

    /// Works until it is time to close and open again.
    fn open_and_work(&mut self) -> Result<(), Broken> {
        let place = self.part.place;
        self.voice.say(Phase::Open);
        let env = self.lmdb.open(&self.part.data)?;
        let cleared = env.clear_stale_readers().map_err(said("clear slots"))?;
        self.status.word(place, Word::SlotsCleared).fetch_add(cleared as u64, Ordering::Relaxed);
        let tables = Tables::open(&env)?;
        while self.goes_on() {
            let wish = self.status.wish();
            if self.part.writes && !self.status.is_full(place) {
                self.write(&env, &tables)?;
            } else {
                self.read(&env, &tables, wish)?;
            }
            self.voice.say(Phase::Idle);
            self.status.word(place, Word::Works).fetch_add(1, Ordering::Relaxed);
            if self.one_in(20) {
                std::thread::sleep(Duration::from_micros(self.rng.random_range(0..2000)));
            }
            if self.one_in(self.part.way.reopen_one_in)
                || matches!(wish, Some(Phase::Close | Phase::Open)) && self.one_in(4)
            {
                break;
            }
        }
        self.voice.say(Phase::Close);
        env.prepare_for_closing().wait();
        Ok(())
    }

    fn write(&mut self, env: &Env, tables: &Tables) -> Result<(), Broken> {
        let (place, way) = (self.part.place, &self.part.way);
        self.voice.say(Phase::Lock);
        let mut txn = env.write_txn().map_err(said("write"))?;
        self.status.has_lock(place);
        let txnid = txn.id() as u64;
        let mut writing = Writing { txn: &mut txn, tables };
        let number = match self.number {
            Some(number) => number,
            None => bank::commits_of(&writing, place as u64)?,
        };
        let entry = self.status.append(place, txnid, number);
        self.voice.say(Phase::Stores);
        let generation = bank::transfer(&mut writing, &way.size, &mut self.rng, place as u64, number, txnid)?;
        if self.rng.random_ratio(1, 12) {
            bank::reload(&mut writing, &way.size, &mut self.rng, way.pieces_max)?;
        }
        self.voice.linger(Phase::Stores);
        if self.one_in(10) {
            self.status.settle(place, entry, Outcome::Aborted);
            txn.abort();
            self.number = Some(number);
        } else {
            self.status.committing(place, entry, || txn.commit()).map_err(said("commit"))?;
            self.status.acknowledge(place, entry, Outcome::Durable, generation);
            self.number = Some(number + 1);
        }
        self.status.word(place, Word::Holds).store(0, Ordering::SeqCst);
        Ok(())
    }

    fn read(&mut self, env: &Env, tables: &Tables, wish: Option<Phase>) -> Result<(), Broken> {
        let acknowledged = self.status.run(RunWord::Acknowledged).load(Ordering::SeqCst);
        self.voice.say(Phase::Claim);
        if wish == Some(Phase::Claim) || self.one_in(8) {
            for _ in 0..self.rng.random_range(0..3000) {
                drop(env.read_txn().map_err(said("read"))?);
            }
        }
        let txn = env.read_txn().map_err(said("read"))?;
        self.voice.say(Phase::Read);
        let (reading, size) = (Reading { txn: &txn, tables }, &self.part.way.size);
        let now = self.onlooker.look(&reading, txn.id() as u64, size, acknowledged, &self.status)?;
        if self.part.way.hold_millis > 0 && self.one_in(6) {
            let time = self.rng.random_range(0..self.part.way.hold_millis * 1000);
            std::thread::sleep(Duration::from_micros(time));
            let again = bank::audit(&reading, size)?;
            if again != now.1 {
                return Err(format!("a snapshot changed under its reader: {now:?} became {again}"));
            }
        }
        Ok(())
    }
}
