//! States, orders, units and threads put together.

use std::path::Path;

use super::order::Order;
use super::pass::{self, FIGURES, Figures};
use super::row::{Row, Scenario};
use super::state::{self, State};
use super::ways::Kind;
use crate::Result;
use crate::records::{Files, Outcome, PAGE_BYTES, Unit};
use crate::rounds::{Samples, Side, alternate};

/// How much is done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rounds of each scenario.
    pub rounds: usize,
    /// Reads of a thread in a warm pass.
    pub warm_reads: usize,
    /// Reads of a thread in every other pass.
    pub other_reads: usize,
    /// Numbers of threads.
    pub threads: Vec<usize>,
    /// Numbers of threads where passes take long: fresh, cold and limited.
    pub slow_threads: Vec<usize>,
    /// What is read where passes take long.
    pub slow_units: Vec<Unit>,
    /// Seed of all orders.
    pub seed: u64,
}

/// Who is told each row when it is there.
pub type Told<'a> = &'a mut dyn FnMut(Row);

/// The scenarios over two files.
pub struct Scenarios<'a> {
    /// The files.
    pub files: &'a Files,
    /// How much is done.
    pub plan: &'a Plan,
}

/// Most rounds where memory is limited: filling it takes much longer than a pass.
const LIMITED_ROUNDS: usize = 3;

const RANDOM: [Order; 2] = [Order::Uniform, Order::Skewed];
const ALL: [Order; 3] = [Order::Uniform, Order::Skewed, Order::Sequential];

impl Scenarios<'_> {
    /// All ways are open and have read everything once, through faults and reads of one page.
    pub fn warm(&self, told: Told<'_>) -> Result<()> {
        let pages = self.files.pages;
        let kinds = [Kind::Map, Kind::Pread, Kind::Cache(pages), Kind::Cache(pages / 4), Kind::Maple];
        self.fill_page_cache()?;
        let all: Vec<u64> = (0..pages).collect();
        let mut open = Vec::new();
        for kind in kinds {
            let way = kind.open(self.files)?;
            way.read_all(Unit::Page, &all).map_err(|error| self.named(kind, &error))?;
            open.push((kind, way));
        }
        for scenario in combine(State::Warm, &RANDOM, &[Unit::Record, Unit::Page], &self.plan.threads) {
            let sides = open.iter().map(|(kind, way)| {
                self.side(*kind, move |round| {
                    let indexes = self.indexes(scenario, self.plan.warm_reads, round);
                    pass::run(way.as_ref(), scenario.unit, &indexes, self.resident(*kind)?)
                })
            });
            let samples = alternate(1, self.plan.rounds, sides.collect())?;
            tell(scenario, &kinds, &samples, told);
        }
        Ok(())
    }

    /// Each pass opens its way anew, on a file that is in the page cache.
    pub fn fresh(&self, told: Told<'_>) -> Result<()> {
        self.fill_page_cache()?;
        self.opened_anew(State::Fresh, |_| Ok(()), told)
    }

    /// Each pass opens its way anew, on a file that was dropped from the page cache.
    pub fn cold(&self, told: Told<'_>) -> Result<()> {
        self.opened_anew(State::Cold, state::drop_cached, told)
    }

    /// Brings both files in by faults of one page, as a MapleDB file is: in the larger pieces in which writing and
    /// reading ahead bring them in, faults that follow are fewer.
    fn fill_page_cache(&self) -> Result<()> {
        state::drop_cached(self.files)?;
        let all: Vec<u64> = (0..self.files.pages).collect();
        for kind in [Kind::Map, Kind::Maple] {
            let way = kind.open(self.files)?;
            way.read_all(Unit::Page, &all).map_err(|error| self.named(kind, &error))?;
        }
        Ok(())
    }

    fn opened_anew(
        &self,
        state: State,
        prepare: impl Fn(&Files) -> Outcome<()>,
        told: Told<'_>,
    ) -> Result<()> {
        let cache = Kind::Cache(self.files.pages);
        let kinds = [Kind::Map, Kind::Unadvised, Kind::Pread, cache, Kind::Maple, Kind::Unverified];
        for scenario in combine(state, &ALL, &self.plan.slow_units, &self.plan.slow_threads) {
            let sides = kinds.iter().map(|&kind| {
                let prepare = &prepare;
                self.side(kind, move |round| {
                    prepare(self.files)?;
                    let resident = self.resident(kind)?;
                    let way = kind.open(self.files)?;
                    let indexes = self.indexes(scenario, self.plan.other_reads, round);
                    pass::run(way.as_ref(), scenario.unit, &indexes, resident)
                })
            });
            let samples = alternate(0, self.plan.rounds, sides.collect())?;
            tell(scenario, &kinds, &samples, told);
        }
        Ok(())
    }

    /// Each pass drops what another way left in the page cache, opens its own and fills its memory first, in a process
    /// that may use `memory_bytes`. A cache over the page cache gets half of them, so that the other half can be one; a
    /// direct cache gets three quarters.
    pub fn limited(&self, memory_bytes: u64, told: Told<'_>) -> Result<()> {
        let frames = memory_bytes / PAGE_BYTES as u64;
        let all_kinds = [
            Kind::Map,
            Kind::Pread,
            Kind::Cache(frames / 2),
            Kind::Direct(frames * 3 / 4),
            Kind::Maple,
            Kind::Unadvised,
        ];
        let first: Vec<u64> = (0..frames.min(self.files.pages)).collect();
        for scenario in combine(State::Limited, &ALL, &[Unit::Record], &self.plan.slow_threads) {
            // Reading ahead into memory that is short takes milliseconds for one read: once is enough.
            let kinds = &all_kinds[..all_kinds.len() - usize::from(scenario.threads > 1)];
            let sides = kinds.iter().map(|&kind| {
                let first = &first;
                self.side(kind, move |round| {
                    state::drop_cached(self.files)?;
                    let way = kind.open(self.files)?;
                    way.read_all(Unit::Page, first)?;
                    let resident = self.resident(kind)?;
                    let indexes = self.indexes(scenario, self.plan.other_reads, round);
                    pass::run(way.as_ref(), scenario.unit, &indexes, resident)
                })
            });
            let samples = alternate(0, self.plan.rounds.min(LIMITED_ROUNDS), sides.collect())?;
            tell(scenario, kinds, &samples, told);
        }
        Ok(())
    }

    fn side<'s>(&self, kind: Kind, mut run: impl FnMut(usize) -> Outcome<Figures> + 's) -> Side<'s, FIGURES> {
        let name = kind.name(self.files.pages);
        Side::new(&name.clone(), move |round| Ok(run(round).map_err(|error| format!("{name}: {error}"))?))
    }

    /// An error of one way.
    fn named(&self, kind: Kind, error: &str) -> String {
        format!("{}: {error}", kind.name(self.files.pages))
    }

    fn indexes(&self, scenario: Scenario, length: usize, round: usize) -> Vec<Vec<u64>> {
        let seed = self.plan.seed.wrapping_mul(1 << 16) + round as u64;
        scenario.order.indexes(self.files.units(scenario.unit), scenario.threads, length, seed)
    }

    fn resident(&self, kind: Kind) -> Outcome<f64> {
        state::resident_share(self.file_of(kind))
    }

    fn file_of(&self, kind: Kind) -> &Path {
        if kind.is_maple() { &self.files.maple } else { &self.files.plain }
    }
}

fn tell(scenario: Scenario, kinds: &[Kind], samples: &[Vec<Samples>; FIGURES], told: Told<'_>) {
    for (index, &kind) in kinds.iter().enumerate() {
        told(Row::new(scenario, kind, samples, index));
    }
}

fn combine(state: State, orders: &[Order], units: &[Unit], threads: &[usize]) -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for &order in orders {
        for &unit in units {
            for &threads in threads {
                scenarios.push(Scenario { state, order, unit, threads });
            }
        }
    }
    scenarios
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            rounds: 1,
            warm_reads: 100,
            other_reads: 20,
            threads: vec![1, 2],
            slow_threads: vec![1, 2],
            slow_units: vec![Unit::Record],
            seed: 1,
        }
    }

    #[test]
    fn every_state_gives_a_row_for_each_scenario_and_way() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let files = Files::build(dir.path(), 64).unwrap();
        let mut rows = Vec::new();
        let plan = plan();
        let scenarios = Scenarios { files: &files, plan: &plan };
        let told: Told<'_> = &mut |row| rows.push(row);
        scenarios.warm(told).unwrap();
        scenarios.fresh(told).unwrap();
        scenarios.cold(told).unwrap();
        scenarios.limited(16 * PAGE_BYTES as u64, told).unwrap();
        assert_eq!(rows.len(), 2 * 2 * 2 * 5 + 3 * 2 * 6 + 3 * 2 * 6 + 3 * (6 + 5));
        assert!(rows.iter().all(|row| row.nanoseconds.median > 0.0 && row.per_second.min > 0.0));
        let copies = |kind: Kind| rows.iter().filter(move |row| row.kind == kind).map(|row| row.bytes_copied);
        assert!(copies(Kind::Pread).all(|bytes| bytes >= PAGE_BYTES as f64));
    }

    #[test]
    fn a_wrong_byte_ends_the_run_and_names_the_way() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let files = Files::build(dir.path(), 64).unwrap();
        let mut bytes = std::fs::read(&files.plain).unwrap();
        bytes[5000] ^= 1;
        std::fs::write(&files.plain, bytes).unwrap();
        let plan = plan();
        let scenarios = Scenarios { files: &files, plan: &plan };
        let said = scenarios.warm(&mut |_| ()).unwrap_err().to_string();
        assert!(said.starts_with("map: record 19, of page 1, is not what was written"), "{said}");
    }
}
