//! Records of any source on their way into tables, in one transaction or several.

use std::num::NonZeroU64;

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use mapledb::{Duplicates, Env, KeyOrder, WriteMultimap, WriteTable, WriteTxn};
use serde::Serialize;

use super::feed::{Feed, Pair, Pause};
use super::target::Target;
use crate::door::failure;
use crate::dump::{Source, TableHead};
use crate::failure::Failure;
use crate::selection::Types;
use crate::table;
use crate::text::Type;
use crate::verbs::create;

/// How records are put into tables.
#[derive(Debug, Args)]
pub struct Rules {
    /// What to do with a record whose key is there already: store its value, pass it over, or fail
    #[arg(long, value_enum, default_value = "replace")]
    pub existing: Existing,
    /// Commit after every so many records; what is committed stays if the rest fails
    #[arg(long, value_name = "RECORDS")]
    pub batch: Option<NonZeroU64>,
    /// The type of the keys of tables to be created, where the input does not say
    #[arg(long, value_name = "TYPE", default_value = "bytes", value_parser = create::key_type)]
    pub keys: Type,
    /// The type of the values of tables to be created, where the input does not say
    #[arg(long, value_name = "TYPE", default_value = "bytes", value_parser = create::value_type)]
    pub values: Type,
    /// The order of the keys of tables to be created, where the input does not say; bytewise if left out, integer for keys
    /// such as u64le
    #[arg(long, value_name = "ORDER", value_parser = create::key_order)]
    pub order: Option<KeyOrder>,
    /// Make tables to be created multimaps, which keep every value of a key
    #[arg(long)]
    pub multimap: bool,
    #[command(flatten)]
    pub duplicates: create::DuplicatesArgs,
}

/// What to do with a record whose key is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Existing {
    // Store the record's value. Ordinary comments, as the help would spend a paragraph on each doc comment.
    Replace,
    // Keep the value that is there.
    Keep,
    // Fail.
    Refuse,
}

/// What a load did.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Loaded {
    pub records: u64,
    pub new: u64,
    pub replaced: u64,
    pub kept: u64,
    pub tables: u64,
    pub commits: u64,
    pub txnid: u64,
}

/// A load on its way.
pub struct Load<'a> {
    env: &'a Env,
    /// The table that the command line names.
    into: Option<String>,
    rules: &'a Rules,
    bar: ProgressBar,
    /// What has been done, committed or not.
    reached: Loaded,
    /// What had been done at the last commit.
    committed: Loaded,
}

impl<'a> Load<'a> {
    /// A load into the table that the command line names, else into those that the source names.
    pub fn new(env: &'a Env, into: Option<String>, rules: &'a Rules, bar: ProgressBar) -> Load<'a> {
        Load { env, into, rules, bar, reached: Loaded::default(), committed: Loaded::default() }
    }

    /// Loads all that a source gives. A failure tells how far it had come.
    pub fn run(mut self, source: Box<dyn Source + '_>) -> Result<Loaded, Failure> {
        let done = self.transactions(&mut Feed::new(source));
        self.bar.finish_and_clear();
        let (read, loaded) = (self.reached.records, self.committed);
        match done {
            Ok(()) => Ok(loaded),
            Err(failure) => Err(failure.after([("records read", read), ("records loaded", loaded.records)])),
        }
    }

    fn transactions(&mut self, feed: &mut Feed<'_>) -> Result<(), Failure> {
        let mut target: Option<Target> = None;
        loop {
            feed.allow(self.rules.batch);
            let mut txn = self.env.write().map_err(failure)?;
            let is_over = self.transaction(&mut txn, &mut target, feed)?;
            self.reached.txnid = txn.commit().map_err(failure)?;
            self.reached.commits += 1;
            self.committed = self.reached;
            if is_over {
                return Ok(());
            }
        }
    }

    /// Loads records until the dump is over, or until it is time to commit. Answers whether it is over.
    fn transaction(
        &mut self,
        txn: &mut WriteTxn,
        target: &mut Option<Target>,
        feed: &mut Feed<'_>,
    ) -> Result<bool, Failure> {
        loop {
            match feed.pause()? {
                Pause::Table(head) => {
                    if self.into.is_some() && target.is_some() {
                        let why = "a second table begins, and --table names one";
                        return Err(Failure::input(why).at(feed.place(head.line)));
                    }
                    *target =
                        Some(self.target(&head, txn).map_err(|failure| failure.at(feed.place(head.line)))?);
                    self.reached.tables += 1;
                }
                Pause::Records => {
                    if target.is_none() {
                        *target = Some(Target::open(self.into.clone(), None, None, None, self.rules, txn)?);
                        self.reached.tables += 1;
                    }
                    let Some(target) = target else { continue };
                    self.fill(txn, target, feed)?;
                }
                Pause::Commit => return Ok(false),
                Pause::End => return Ok(true),
            }
        }
    }

    /// The table that a source names, unless the command line names another; made if it is not there.
    fn target(&self, head: &TableHead, txn: &mut WriteTxn) -> Result<Target, Failure> {
        let name = self.into.as_ref().or(head.name.as_ref());
        let types = head.types.clone().map(|(keys, values)| Types { keys, values });
        let duplicates = head.duplicates;
        if duplicates.is_some() && name.is_none() {
            let why =
                "the default table holds one value to a key, and this is a multimap: name a table (--table)";
            return Err(Failure::input(why));
        }
        let target = Target::open(name.cloned(), types, head.order.as_deref(), duplicates, self.rules, txn)?;
        target.pass_over(head.sequence, txn).map_err(failure)?;
        Ok(target)
    }

    /// Loads the records that come next into their table.
    fn fill(&mut self, txn: &mut WriteTxn, target: &Target, feed: &mut Feed<'_>) -> Result<(), Failure> {
        if let Some(duplicates) = target.duplicates {
            return self.fill_multimap(txn, target, duplicates, feed);
        }
        let mut table = txn.table(&target.untyped()).map_err(failure)?;
        let before = table.len();
        let read_before = feed.given();
        let kept_before = self.reached.kept;
        let filled = self.append(&mut table, target, feed).and_then(|()| self.put(&mut table, target, feed));
        let (added, read) = (table.len().saturating_sub(before), feed.given() - read_before);
        let kept = self.reached.kept - kept_before;
        self.reached.records += read;
        self.reached.new += added;
        self.reached.replaced += read.saturating_sub(added).saturating_sub(kept);
        filled
    }

    /// Loads the pairs that come next into their multimap. A pair that is there stays, whatever the rules say of values.
    fn fill_multimap(
        &mut self,
        txn: &mut WriteTxn,
        target: &Target,
        duplicates: Duplicates,
        feed: &mut Feed<'_>,
    ) -> Result<(), Failure> {
        let mut multimap = txn.multimap(&target.untyped_multimap()).map_err(failure)?;
        let last = multimap.reading().and_then(|all| all.last()).map_err(failure)?;
        let last = last.map(|(key, _)| key.to_vec());
        // What was committed may have ended within the values of a key.
        if let Some(last) = &last {
            while let Some(pair) = feed.next_of_key(&target.types, last) {
                self.insert(&mut multimap, target, feed, pair)?;
            }
        }
        self.append_pairs(&mut multimap, target, duplicates, feed, last)?;
        while let Some(pair) = feed.next_record(&target.types) {
            self.insert(&mut multimap, target, feed, pair)?;
        }
        Ok(())
    }

    /// Loads as many pairs as come in order behind the key `last`, which is the last one of the multimap: into full pages, without
    /// a search.
    fn append_pairs(
        &mut self,
        multimap: &mut UntypedMultimap<'_>,
        target: &Target,
        duplicates: Duplicates,
        feed: &mut Feed<'_>,
        last: Option<Vec<u8>>,
    ) -> Result<(), Failure> {
        let (bar, order) = (&self.bar, multimap.order());
        let (pairs_before, read_before) = (multimap.len(), feed.given());
        let pairs = feed.ascending(&target.types, order, Some(duplicates.order), last);
        let appended = multimap.load_sorted(pairs.inspect(|_| bar.inc(1)).map(Ok));
        self.reached.records += feed.given() - read_before;
        self.reached.new += multimap.len() - pairs_before;
        appended.map_err(|error| feed.blame(failure(error))).map(drop)
    }

    /// Loads a pair wherever it belongs.
    fn insert(
        &mut self,
        multimap: &mut UntypedMultimap<'_>,
        target: &Target,
        feed: &Feed<'_>,
        (key, value): Pair,
    ) -> Result<(), Failure> {
        self.bar.inc(1);
        let is_new = multimap.insert(&key, &value).map_err(|error| feed.blame(failure(error)))?;
        if !is_new && self.rules.existing == Existing::Refuse {
            let key = target.types.keys.text_of(&key).into_owned();
            return Err(feed.blame(Failure::input(format!(
                "the key \"{key}\" has this value already: --existing says what to do then"
            ))));
        }
        self.reached.records += 1;
        self.reached.new += u64::from(is_new);
        self.reached.kept += u64::from(!is_new);
        Ok(())
    }

    /// Loads as many records as come in order behind what the table holds: into full pages, without a search.
    fn append(
        &mut self,
        table: &mut Untyped<'_>,
        target: &Target,
        feed: &mut Feed<'_>,
    ) -> Result<(), Failure> {
        let last = table.last().map_err(failure)?.map(|(key, _)| key.to_vec());
        let (bar, order) = (&self.bar, table.order());
        let appended = table
            .load_sorted(feed.ascending(&target.types, order, None, last).inspect(|_| bar.inc(1)).map(Ok));
        appended.map_err(|error| feed.blame(failure(error))).map(drop)
    }

    /// Loads records in any order.
    fn put(&mut self, table: &mut Untyped<'_>, target: &Target, feed: &mut Feed<'_>) -> Result<(), Failure> {
        while let Some((key, value)) = feed.next_record(&target.types) {
            self.bar.inc(1);
            let stored = match self.rules.existing {
                Existing::Replace => table.put(&key, &value).map(|()| true),
                Existing::Keep | Existing::Refuse => table.put_new(&key, &value),
            };
            let stored = stored.map_err(|error| feed.blame(failure(error)))?;
            if !stored && self.rules.existing == Existing::Refuse {
                let key = target.types.keys.text_of(&key).into_owned();
                return Err(feed.blame(Failure::input(format!(
                    "the key \"{key}\" is there already: --existing says what to do then"
                ))));
            }
            self.reached.kept += u64::from(!stored);
        }
        Ok(())
    }
}

type Untyped<'t> = WriteTable<'t, [u8], [u8]>;

type UntypedMultimap<'t> = WriteMultimap<'t, [u8], [u8]>;

impl Loaded {
    /// The summary.
    pub fn in_words(&self) -> String {
        let records = table::plural(self.records, "record", "records");
        let tables = table::plural(self.tables, "table", "tables");
        let (new, replaced, kept) =
            (table::count(self.new), table::count(self.replaced), table::count(self.kept));
        let txnid = self.txnid;
        format!(
            "loaded {records} into {tables}: {new} new, {replaced} replaced, {kept} kept as they were; commit {txnid}"
        )
    }
}
