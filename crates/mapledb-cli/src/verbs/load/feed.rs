//! The records of a dump on their way into tables: understood, counted, and held back where the loader must do
//! something else first.

use std::cmp::Ordering;
use std::num::NonZeroU64;

use mapledb::KeyOrder;

use crate::dump::{Item, Record, Source, TableHead};
use crate::failure::Failure;
use crate::interrupt;
use crate::selection::Types;

/// Why records stopped coming, and so what the loader does next.
#[derive(Debug)]
pub enum Pause {
    /// A table begins.
    Table(TableHead),
    /// There are records.
    Records,
    /// The transaction has as many records as it may.
    Commit,
    /// The dump is over.
    End,
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A dump's records.
pub struct Feed<'s> {
    source: Box<dyn Source + 's>,
    /// What was read and not yet given out.
    next: Option<Result<Next, Failure>>,
    /// How many records may be given out before the next commit.
    allowed: u64,
    given: u64,
    line: u64,
}

/// What comes next.
enum Next {
    Table(TableHead),
    Record(Record),
    /// A record that was understood already.
    Pair(Pair),
    End,
}

impl<'s> Feed<'s> {
    /// The records of `source`.
    pub fn new(source: Box<dyn Source + 's>) -> Feed<'s> {
        Feed { source, next: None, allowed: 0, given: 0, line: 0 }
    }

    /// Allows so many records until the next pause to commit, or any number.
    pub fn allow(&mut self, records: Option<NonZeroU64>) {
        self.allowed = records.map_or(u64::MAX, NonZeroU64::get);
    }

    /// Why records stopped coming.
    pub fn pause(&mut self) -> Result<Pause, Failure> {
        match self.take_next()? {
            Next::Table(head) => Ok(Pause::Table(head)),
            Next::End => Ok(Pause::End),
            record => {
                self.next = Some(Ok(record));
                Ok(if self.allowed == 0 { Pause::Commit } else { Pause::Records })
            }
        }
    }

    /// The next record for a table of these types; `None` when it is time to ask for the reason.
    pub fn next_record(&mut self, types: &Types) -> Option<Pair> {
        if self.allowed == 0 {
            return None;
        }
        let pair = match self.take_next() {
            Ok(Next::Record(record)) => {
                self.line = record.line;
                self.understand(record, types)
            }
            Ok(Next::Pair(pair)) => Ok(pair),
            other => {
                self.next = Some(other);
                return None;
            }
        };
        match pair {
            Ok(pair) => {
                self.allowed -= 1;
                self.given += 1;
                Some(pair)
            }
            Err(failure) => {
                self.next = Some(Err(failure));
                None
            }
        }
    }

    /// The next records as long as each key is greater than the one before in `order`, the first greater than `last`. In a
    /// multimap with `duplicates` in an order, its value may be the greater one instead, but for the first.
    pub fn ascending<'f>(
        &'f mut self,
        types: &'f Types,
        order: KeyOrder,
        duplicates: Option<KeyOrder>,
        last: Option<Vec<u8>>,
    ) -> impl Iterator<Item = Pair> + use<'f, 's> {
        let mut last: Option<(Vec<u8>, Option<Vec<u8>>)> = last.map(|key| (key, None));
        std::iter::from_fn(move || {
            let pair = self.next_record(types)?;
            let is_greater = last.as_ref().is_none_or(|(key, value)| match order.compare(key, &pair.0) {
                Ordering::Equal => duplicates
                    .zip(value.as_ref())
                    .is_some_and(|(order, value)| order.compare(value, &pair.1).is_lt()),
                beside => beside.is_lt(),
            });
            if !is_greater {
                self.give_back(pair);
                return None;
            }
            let (key, value) = last.get_or_insert_default();
            key.clone_from(&pair.0);
            if duplicates.is_some() {
                value.get_or_insert_default().clone_from(&pair.1);
            }
            Some(pair)
        })
    }

    /// The next record if its key is `key`.
    pub fn next_of_key(&mut self, types: &Types, key: &[u8]) -> Option<Pair> {
        let pair = self.next_record(types)?;
        if pair.0 == key {
            return Some(pair);
        }
        self.give_back(pair);
        None
    }

    /// How many records have been given out.
    pub fn given(&self) -> u64 {
        self.given
    }

    /// Says that the record given out last is to blame.
    pub fn blame(&self, failure: Failure) -> Failure {
        failure.at(self.place(self.line))
    }

    /// What messages call the place with this number.
    pub fn place(&self, number: u64) -> String {
        self.source.place(number)
    }

    fn understand(&self, record: Record, types: &Types) -> Result<Pair, Failure> {
        let wrong =
            |what: &str, why: String| Failure::input(format!("{}: {what}: {why}", self.place(record.line)));
        let key = record.key.into_bytes(&types.keys).map_err(|why| wrong("key", why))?;
        let value = record.value.into_bytes(&types.values).map_err(|why| wrong("value", why))?;
        Ok((key, value))
    }

    fn give_back(&mut self, pair: Pair) {
        self.next = Some(Ok(Next::Pair(pair)));
        self.allowed = self.allowed.saturating_add(1);
        self.given -= 1;
    }

    fn take_next(&mut self) -> Result<Next, Failure> {
        if let Some(next) = self.next.take() {
            return next;
        }
        interrupt::check()?;
        Ok(match self.source.next_item()? {
            Some(Item::Table(head)) => Next::Table(head),
            Some(Item::Record(record)) => Next::Record(record),
            None => Next::End,
        })
    }
}
