//! The small file that is changed, and what it holds.

use std::path::Path;
use std::time::Duration;

use mapledb::{Duplicates, Durability, Env, KeyOrder, Options, Table};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::Part;
use super::change::{Change, SECTOR};
use crate::image::lock_path;
use crate::model::{State, TableState};
use crate::scratch::Scratch;
use crate::verify::{Broken, said};

pub(super) const BLOCK: usize = 4096;
/// Where the pages begin that are no metas.
const DATA_AT: u64 = 128 << 10;
/// What no page and no meta covers.
const GAPS: [std::ops::Range<usize>; 2] = [4096..65536, 69632..131_072];
/// Room that is mapped for a file.
const RESERVE_BYTES: u64 = 1 << 20;
/// Commits of a file.
const ROUNDS: usize = 2;

/// A file and what it holds: a function of the seed but for identity, device, inode, boot and time.
pub(super) struct Subject {
    pub(super) part: Part,
    pub(super) data: Vec<u8>,
    pub(super) lock: Option<Vec<u8>>,
    pub(super) newest: State,
    /// What may be found instead, if that is told: the commit before; where relaxed commits were left, which one of the
    /// two metas vouches for, the one before the last durable commit as well.
    pub(super) before: Vec<State>,
}

/// How the file is opened: nothing is synced but by a call.
pub(super) fn options() -> Options {
    Env::options().reserve_bytes(RESERVE_BYTES).relaxed_bound(u64::MAX, Duration::from_secs(3600))
}

#[allow(unsafe_code)]
pub(super) fn open(path: &Path, options: Options) -> mapledb::Result<Env> {
    // SAFETY: the file lies in this process's own directory, and is written by the harness only while it is closed.
    unsafe { options.open_or_create(path) }
}

impl Subject {
    /// Makes the file of a part, as short as it can be.
    pub(super) fn make(part: Part, seed: u64) -> Result<Subject, Broken> {
        let mut quota = DATA_AT;
        loop {
            quota += BLOCK as u64;
            match Subject::within(part, seed, quota) {
                Err(broken) if broken.contains("quota") && quota < RESERVE_BYTES => {}
                answer => return answer,
            }
        }
    }

    fn within(part: Part, seed: u64, quota: u64) -> Result<Subject, Broken> {
        let mut rng = SmallRng::seed_from_u64(seed);
        let dir = Scratch::new().map_err(|error| error.to_string())?;
        let path = dir.path().join("subject.maple");
        let env = open(&path, options().quota_bytes(quota)).map_err(said("create"))?;
        let mut states = vec![State::default()];
        for round in 0..ROUNDS {
            let is_last = round == ROUNDS - 1;
            let mut state = states[round].clone();
            let mut txn = env.write().map_err(said("write"))?;
            if is_last && part.is_of_the_dead() {
                txn.durability(Durability::Relaxed);
            }
            fill(&mut txn, &mut state, round, &mut rng).map_err(said("change"))?;
            fill_pairs(&mut txn, &mut state, &mut rng).map_err(said("change"))?;
            txn.commit().map_err(said("commit"))?;
            states.push(state);
        }
        let read = |path: &Path| std::fs::read(path).map_err(|error| error.to_string());
        let lock_path = lock_path(&path);
        let (data, lock) = match part.is_of_the_dead() {
            // As they are now, as if this process had died.
            true => (read(&path)?, read(&lock_path)?),
            false => {
                env.close().map_err(said("close"))?;
                (read(&path)?, read(&lock_path)?)
            }
        };
        let lock = (part != Part::DataAlone).then_some(lock);
        let newest = states.pop().unwrap_or_default();
        let kept = if part.is_of_the_dead() { 2 } else { 1 };
        let before = states.into_iter().rev().take(kept).collect();
        Ok(Subject { part, data, lock, newest, before })
    }

    /// How many changes are made to it.
    pub(super) fn changes(&self) -> u64 {
        Change::count(self.places())
    }

    /// Change `index`.
    pub(super) fn change(&self, index: u64) -> Change {
        match Change::at(index, self.places()) {
            Change::Flip { byte, bit } => Change::Flip { byte: self.place(byte), bit },
            Change::Cut { len } => Change::Cut { len: self.place(len) },
            Change::Zero { sector } => Change::Zero { sector: self.place(sector * SECTOR) / SECTOR },
        }
    }

    /// How many bytes are changed. What lies between the metas and behind the second one has no meaning; that is shown
    /// once, by the first part.
    fn places(&self) -> usize {
        match (self.part, &self.lock) {
            (Part::LockOfTheClosed | Part::LockOfTheDead, Some(lock)) => lock.len(),
            (Part::DataAlone, _) => self.data.len(),
            _ => self.data.len() - GAPS.iter().map(|gap| gap.len()).sum::<usize>(),
        }
    }

    /// The byte that is changed `at`-th.
    fn place(&self, mut at: usize) -> usize {
        if matches!(self.part, Part::DataBesideLock | Part::DataOfTheDead) {
            for gap in GAPS {
                at += if at >= gap.start { gap.len() } else { 0 };
            }
        }
        at
    }
}

/// Fills two tables and a run, and gives pages up again.
fn fill(
    txn: &mut mapledb::WriteTxn,
    state: &mut State,
    round: usize,
    rng: &mut SmallRng,
) -> mapledb::Result<()> {
    for table_name in ["", "named"] {
        let model = state.tables.entry(table_name.to_string()).or_default();
        let mut table = match table_name {
            "" => txn.main(),
            _ => txn.open_table(&Table::<[u8], [u8]>::new(table_name))?,
        };
        for _ in 0..6 {
            let key = format!("key {:02}", rng.random_range(0..20)).into_bytes();
            let mut value = vec![0; rng.random_range(0..90)];
            rng.fill(&mut value[..]);
            table.put(&key[..], &value[..])?;
            model.entries.insert(key, value.into());
        }
        if let Some(key) = model.entries.keys().nth(rng.random_range(0..5)).cloned() {
            table.delete(&key[..])?;
            model.entries.remove(&key);
        }
        if table_name.is_empty() && round == 0 {
            let mut value = vec![0; rng.random_range(4200..6000)];
            rng.fill(&mut value[..]);
            table.put(&b"long"[..], &value[..])?;
            model.entries.insert(b"long".to_vec(), value.into());
        }
        model.sequence += 1;
        table.next_sequence(1)?;
    }
    Ok(())
}

/// Fills two multimaps and takes pairs out again. Their keys have one duplicate, a sub-page of them and, in the one whose
/// duplicates are packed, a tree.
fn fill_pairs(txn: &mut mapledb::WriteTxn, state: &mut State, rng: &mut SmallRng) -> mapledb::Result<()> {
    let kinds = [
        ("pairs", Duplicates { order: KeyOrder::BYTEWISE, len: None }),
        ("packed", Duplicates { order: KeyOrder::INTEGER, len: Some(8) }),
    ];
    for (name, kind) in kinds {
        let model = state.tables.entry(name.to_string()).or_insert_with(|| TableState::multimap(kind));
        let Some(pairs) = &mut model.pairs else { continue };
        let mut table = txn.open_multimap_as(name, "bytes", "bytes", Some(KeyOrder::BYTEWISE), kind)?;
        let many = if kind.len.is_some() { 150 } else { 5 };
        for (key, count) in [(&b"many"[..], many), (&b"one"[..], 1)] {
            for _ in 0..count {
                let mut dup = vec![0; kind.len.unwrap_or(rng.random_range(0..30))];
                rng.fill(&mut dup[..]);
                table.insert(key, &dup)?;
                pairs.insert(key, &dup);
            }
            let first = pairs.of(key).next().map(|dup| dup.into_owned()).unwrap_or_default();
            if count > 1 {
                table.delete(key, &first)?;
                pairs.remove(key, &first);
            }
        }
    }
    Ok(())
}
