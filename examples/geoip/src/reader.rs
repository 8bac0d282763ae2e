//! A reader process: answers lookups from one snapshot after the other, and holds every answer against the plain
//! sorted array of the generation it claims to be of.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;
use mapledb::Env;

use crate::address::{Address, Ranges};
use crate::generation::generation;
use crate::message::{self, Event, Latency, Order, ReaderReport};
use crate::queries::Queries;
use crate::smaps;
use crate::store::{self, Door, Lookups};
use crate::verdict::{Answer, Verdict};

/// Lookups in one read transaction: each kind of query in equal parts, and enough of them that a transaction
/// often lasts while the writer commits.
const LOOKUPS_PER_TRANSACTION: usize = 300;

/// A lookup that takes longer counts as so long: ten seconds.
const LATENCY_MAX_NS: u64 = 10_000_000_000;

/// Reads until it is told to report.
///
/// # Errors
/// What MapleDB says, or the service has gone.
pub fn run(data: &Ranges, file: &Path, seed: u64) -> Result<()> {
    let env = store::attach(file, Door::Open)?;
    let mut reader = Reader::new(data, seed)?;
    reader.transaction(&env)?;
    message::tell(&Event::Ready)?;

    let is_over = Arc::new(AtomicBool::new(false));
    let orders = thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            let order = message::await_order(Order::Report);
            is_over.store(true, Ordering::Relaxed);
            order.and_then(|()| message::await_end())
        }
    });
    let begun = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        reader.transaction(&env)?;
    }
    let elapsed_us = begun.elapsed().as_micros() as u64;
    let report = ReaderReport {
        latency: reader.latency(),
        verdict: reader.verdict,
        generations: reader.generations,
        elapsed_us,
        looking_up_us: reader.looking_up.as_micros() as u64,
        memory: smaps::of_this_process(file)?,
    };
    message::tell(&Event::ReaderReport(Box::new(report)))?;
    orders.join().map_err(|_| anyhow!("the thread that takes orders panicked"))??;
    env.close()?;
    Ok(())
}

struct Reader<'d> {
    data: &'d Ranges,
    /// The generation last seen, and its ranges.
    current: (u32, Ranges),
    generations: u32,
    queries: Queries,
    answers: Vec<(Address, Answer)>,
    verdict: Verdict,
    latencies_ns: Histogram<u64>,
    /// The sum of those times.
    looking_up: Duration,
}

impl<'d> Reader<'d> {
    fn new(data: &'d Ranges, seed: u64) -> Result<Reader<'d>> {
        Ok(Reader {
            data,
            current: (0, Ranges::default()),
            generations: 0,
            queries: Queries::new(seed),
            answers: Vec::with_capacity(LOOKUPS_PER_TRANSACTION),
            verdict: Verdict::default(),
            latencies_ns: Histogram::new_with_max(LATENCY_MAX_NS, 3).context("cannot make the histogram")?,
            looking_up: Duration::ZERO,
        })
    }

    /// One snapshot: looks up, counts, then judges with the snapshot still held.
    fn transaction(&mut self, env: &Env) -> Result<()> {
        let txn = env.read()?;
        let state = store::state(&txn)?;
        if self.current.0 != state.generation {
            self.current = (state.generation, generation(self.data, state.generation));
            self.generations += 1;
        }
        let ranges = &self.current.1;
        let addresses: Vec<Address> =
            (0..LOOKUPS_PER_TRANSACTION).map(|_| self.queries.next(ranges)).collect();

        let lookups = Lookups::of(&txn)?;
        self.answers.clear();
        let begun = Instant::now();
        let mut before = begun;
        for address in addresses {
            let answer = lookups.lookup(address)?;
            let after = Instant::now();
            self.latencies_ns.saturating_record((after - before).as_nanos() as u64);
            self.answers.push((address, answer));
            before = after;
        }
        self.looking_up += before - begun;
        let counted = lookups.counts()?;
        self.verdict.judge(state, counted, ranges, self.answers.iter().copied());
        Ok(())
    }

    fn latency(&self) -> Latency {
        let at = |quantile| self.latencies_ns.value_at_quantile(quantile);
        Latency {
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: self.latencies_ns.max(),
        }
    }
}
