//! What the processes do with the file, and what must hold of every snapshot of it, whoever made it.
//!
//! Money moves between accounts. Every commit is one *generation*: it writes its number and its txnid down beside the
//! generation in a journal, and stamps what it changes. So a snapshot that mixes two commits does not add up, one
//! that lacks a commit has a gap in its journal, and what a page of another time would show is of a wrong generation.
//! A fourth table holds ballast: large values that come and go, and make the file grow. A fifth is a multimap, the index of accounts
//! by how much is in them, which every transfer changes and every audit holds against the accounts.
//!
//! It is written over two small traits, so that another engine can be put to the same test.

use rand::Rng;
use rand::rngs::SmallRng;

/// Why something could not be done or does not hold.
pub type Broken = String;

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The generation.
    Main,
    /// The accounts, by number.
    Accounts,
    /// The generation and txnid of each commit, by its writer and its number.
    Journal,
    /// Large values, by number.
    Ballast,
    /// The numbers of the accounts, by the magnitude of their balance: a multimap.
    Index,
}

impl Place {
    /// All of them.
    pub const ALL: [Place; 5] = [Place::Main, Place::Accounts, Place::Journal, Place::Ballast, Place::Index];

    /// Its name; none for the default table.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Place::Main => None,
            Place::Accounts => Some("accounts"),
            Place::Journal => Some("journal"),
            Place::Ballast => Some("ballast"),
            Place::Index => Some("index"),
        }
    }

    /// Whether it is a multimap, of duplicates of 8 bytes each.
    pub fn is_multimap(self) -> bool {
        self == Place::Index
    }
}

/// Sees an entry, and says whether it wants more.
pub type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> Result<bool, Broken> + 'v;

/// What is asked of a snapshot.
pub trait Reads {
    /// The value at a key.
    ///
    /// # Errors
    /// The engine's.
    fn get(&self, place: Place, key: &[u8]) -> Result<Option<Vec<u8>>, Broken>;
    /// Visits every entry or pair from a key on, in order, until `visit` says that it is enough.
    ///
    /// # Errors
    /// The engine's, or the visitor's.
    fn each(&self, place: Place, from: &[u8], visit: &mut Visit<'_>) -> Result<(), Broken>;
    /// How many entries or pairs there are.
    ///
    /// # Errors
    /// The engine's.
    fn count(&self, place: Place) -> Result<u64, Broken>;
}

/// What is asked of a write transaction.
pub trait Writes: Reads {
    /// Stores a value; in a multimap, one more.
    ///
    /// # Errors
    /// The engine's.
    fn put(&mut self, place: Place, key: &[u8], value: &[u8]) -> Result<(), Broken>;
    /// Takes an entry out.
    ///
    /// # Errors
    /// The engine's.
    fn delete(&mut self, place: Place, key: &[u8]) -> Result<(), Broken>;
    /// Takes a pair of a multimap out, which must be there.
    ///
    /// # Errors
    /// The engine's, or that it was not there.
    fn delete_pair(&mut self, place: Place, key: &[u8], dup: &[u8]) -> Result<(), Broken>;
}

const GENERATION: &[u8] = b"generation";
const BALANCE: u64 = 1000;

/// How large everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Size {
    /// How many accounts there are.
    pub accounts: u64,
    /// The longest ordinary value of one, in bytes.
    pub value_max: usize,
    /// The most transfers in a transaction.
    pub transfers_max: u64,
    /// The longest piece of ballast, in bytes.
    pub ballast_max: usize,
}

fn word(value: &[u8], at: usize) -> Result<u64, Broken> {
    let bytes = value.get(8 * at..8 * at + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u64::from_le_bytes).ok_or_else(|| format!("a value of {} bytes has no word {at}", value.len()))
}

/// A balance, the generation it was written in, and as many bytes more as the generation says.
fn account(balance: u64, generation: u64, size: &Size) -> Vec<u8> {
    let mut value = [balance.to_le_bytes(), generation.to_le_bytes()].concat();
    let len = if generation.is_multiple_of(50) { 3_000 } else { 16 + generation as usize % size.value_max };
    value.resize(len, generation as u8);
    value
}

/// A piece of ballast: its generation, then bytes that follow from it.
fn ballast(generation: u64, len: usize) -> Vec<u8> {
    let mut value = generation.to_le_bytes().to_vec();
    value.resize(len.max(8), generation as u8 ^ 0x55);
    value
}

/// Where the index has an account: as many bits as its balance has. So a few keys have very many duplicates, and others few.
fn magnitude(balance: u64) -> [u8; 1] {
    [(u64::BITS - balance.leading_zeros()) as u8]
}

/// Lays the accounts down.
///
/// # Errors
/// The engine's.
pub fn found(txn: &mut dyn Writes, size: &Size) -> Result<(), Broken> {
    for number in 0..size.accounts {
        txn.put(Place::Accounts, &number.to_be_bytes(), &account(BALANCE, 0, size))?;
        txn.put(Place::Index, &magnitude(BALANCE), &number.to_be_bytes())?;
    }
    txn.put(Place::Main, GENERATION, &0u64.to_le_bytes())
}

/// The generation of a snapshot.
///
/// # Errors
/// There is none.
pub fn generation(txn: &(impl Reads + ?Sized)) -> Result<u64, Broken> {
    let value = txn.get(Place::Main, GENERATION)?.ok_or("there is no generation")?;
    word(&value, 0)
}

/// How many commits of a writer's are in a snapshot.
///
/// # Errors
/// The engine's.
pub fn commits_of(txn: &impl Reads, writer: u64) -> Result<u64, Broken> {
    let mut commits = 0;
    txn.each(Place::Journal, &writer.to_be_bytes(), &mut |key, _| {
        let is_its = key[..8] == writer.to_be_bytes();
        commits += u64::from(is_its);
        Ok(is_its)
    })?;
    Ok(commits)
}

/// One commit's changes. Answers its generation.
///
/// # Errors
/// The engine's.
pub fn transfer(
    txn: &mut dyn Writes,
    size: &Size,
    rng: &mut SmallRng,
    writer: u64,
    number: u64,
    txnid: u64,
) -> Result<u64, Broken> {
    let generation = generation(txn)? + 1;
    for _ in 0..rng.random_range(1..=size.transfers_max) {
        let (from, to) = (rng.random_range(0..size.accounts), rng.random_range(0..size.accounts));
        let balance = |number: u64| {
            let value = txn.get(Place::Accounts, &number.to_be_bytes())?.ok_or("an account is missing")?;
            word(&value, 0)
        };
        let (has, had) = (balance(from)?, balance(to)?);
        let amount = rng.random_range(0..=has);
        if from != to {
            for (number, before, after) in [(from, has, has - amount), (to, had, had + amount)] {
                let key = number.to_be_bytes();
                txn.put(Place::Accounts, &key, &account(after, generation, size))?;
                if magnitude(before) != magnitude(after) {
                    txn.delete_pair(Place::Index, &magnitude(before), &key)?;
                    txn.put(Place::Index, &magnitude(after), &key)?;
                }
            }
        }
    }
    let key = [writer.to_be_bytes(), number.to_be_bytes()].concat();
    let line = [generation.to_le_bytes(), txnid.to_le_bytes()].concat();
    txn.put(Place::Journal, &key, &line)?;
    txn.put(Place::Main, GENERATION, &generation.to_le_bytes())?;
    Ok(generation)
}

/// Adds ballast, or takes the oldest away when there is much.
///
/// # Errors
/// The engine's.
pub fn reload(txn: &mut dyn Writes, size: &Size, rng: &mut SmallRng, pieces_max: u64) -> Result<(), Broken> {
    let generation = generation(txn)?;
    let mut keys = Vec::new();
    txn.each(Place::Ballast, &[], &mut |key, _| {
        keys.push(key.to_vec());
        Ok(true)
    })?;
    let surplus = (keys.len() as u64).saturating_sub(pieces_max) as usize;
    for key in keys.iter().take(surplus.min(8)) {
        txn.delete(Place::Ballast, key)?;
    }
    let len = rng.random_range(8..=size.ballast_max);
    let next = keys.last().map_or(0, |key| key[..8].try_into().map_or(0, u64::from_be_bytes) + 1);
    txn.put(Place::Ballast, &next.to_be_bytes(), &ballast(generation, len))
}

/// Everything that must hold of a snapshot; answers its generation.
///
/// # Errors
/// What does not.
pub fn audit(txn: &impl Reads, size: &Size) -> Result<u64, Broken> {
    let generation = generation(txn)?;
    let (mut sum, mut count, mut index) = (0, 0, Vec::new());
    txn.each(Place::Accounts, &[], &mut |key, value| {
        if key != u64::to_be_bytes(count) {
            return Err(format!("account {count} is missing"));
        }
        let (balance, written) = (word(value, 0)?, word(value, 1)?);
        if written > generation {
            return Err(format!("account {count} is of generation {written}, its snapshot of {generation}"));
        }
        if value != account(balance, written, size) {
            return Err(format!("account {count} of generation {written} is not whole"));
        }
        sum += balance;
        index.push((magnitude(balance), u64::to_be_bytes(count)));
        count += 1;
        Ok(true)
    })?;
    if (sum, count) != (size.accounts * BALANCE, size.accounts) {
        return Err(format!("generation {generation} does not add up: {sum} in {count} accounts"));
    }
    index.sort_unstable();
    audit_index(txn, &index).map_err(|broken| format!("generation {generation}: {broken}"))?;
    let lines = txn.count(Place::Journal)?;
    if lines != generation {
        return Err(format!("generation {generation} has {lines} lines in its journal"));
    }
    txn.each(Place::Ballast, &[], &mut |key, value| {
        let written = word(value, 0)?;
        if written > generation || value != ballast(written, value.len()) {
            return Err(format!("ballast {key:02x?} of generation {written} is not whole"));
        }
        Ok(true)
    })?;
    Ok(generation)
}

/// The index has these pairs and no others.
fn audit_index(txn: &impl Reads, expected: &[([u8; 1], [u8; 8])]) -> Result<(), Broken> {
    let mut left = expected.iter();
    txn.each(Place::Index, &[], &mut |key, dup| match left.next() {
        Some((magnitude, number)) if (key, dup) == (&magnitude[..], &number[..]) => Ok(true),
        other => Err(format!("the index has {key:02x?}, {dup:02x?} where {other:02x?} should be")),
    })?;
    let (count, missing) = (txn.count(Place::Index)?, left.len());
    match (count == expected.len() as u64, missing) {
        (true, 0) => Ok(()),
        _ => Err(format!("the index counts {count} pairs of {}, and {missing} are missing", expected.len())),
    }
}

/// A line of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who committed.
    pub writer: u64,
    /// Which of its commits.
    pub number: u64,
    /// Which of all.
    pub generation: u64,
    /// In which transaction.
    pub txnid: u64,
}

/// The journal, by writer and number.
///
/// # Errors
/// The engine's, or a line that is none.
pub fn journal(txn: &impl Reads) -> Result<Vec<Line>, Broken> {
    let mut lines = Vec::new();
    txn.each(Place::Journal, &[], &mut |key, value| {
        let part =
            |at: usize| key.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
        let (Some(writer), Some(number)) = (part(0), part(8)) else {
            return Err("a strange key".to_string());
        };
        lines.push(Line { writer, number, generation: word(value, 0)?, txnid: word(value, 1)? });
        Ok(true)
    })?;
    Ok(lines)
}
