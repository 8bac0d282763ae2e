//! MapleDB beside LMDB: every row of `rows`, in one process and one run.
//!
//! Reads come first, on databases that nothing has changed since they were filled; then the commits, then
//! the loads, each of which fills fresh databases.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use mapledb::Verify;
use mapledb_bench::engine::Engine;
use mapledb_bench::lmdb::Lmdb;
use mapledb_bench::machine::{self, Machine};
use mapledb_bench::maple::{Maple, MapleSetup};
use mapledb_bench::measure::{self, BATCH_PUTS, Checked, Load};
use mapledb_bench::report::{Profile, Report, Row};
use mapledb_bench::rounds::{Side, alternate};
use mapledb_bench::rows::{self, LoadRows};
use mapledb_bench::workload::Workload;
use mapledb_bench::{Result, rows as row};

const ENTRIES: usize = 1_000_000;
const VALUE_BYTES: usize = 150;

/// Keys that a round looks up.
const ROUND_LOOKUPS: usize = 50_000;
/// Range scans of a round.
const ROUND_RANGES: usize = 4_000;
/// Read transactions of a round.
const ROUND_BEGINS: usize = 200_000;
/// Durable one-put commits of a round.
const ROUND_COMMITS: usize = 100;
/// Durable batches of a round.
const ROUND_BATCHES: usize = 5;

/// Measures MapleDB beside LMDB; ratios above 1 mean that MapleDB is better.
#[derive(Parser)]
struct Options {
    /// Entries in the database.
    #[arg(long, default_value_t = ENTRIES, value_parser = at_least_one)]
    entries: usize,
    /// Bytes of a value.
    #[arg(long, default_value_t = VALUE_BYTES)]
    value_bytes: usize,
    /// Rounds of each row; a load takes a quarter of them.
    #[arg(long, default_value_t = 20, value_parser = at_least_one)]
    repeats: usize,
    /// Only rows whose measure contains one of these texts, separated by commas.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// The order that the database for reads and commits is filled in.
    #[arg(long, value_enum, default_value_t = Filled::Random)]
    load: Filled,
    /// Seed of all keys and orders.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Directory for the databases, on the file system to be measured [default: target/bench/data].
    #[arg(long, env = "MAPLE_BENCH_DIR")]
    data_dir: Option<PathBuf>,
    /// File for the JSON rows [default: target/bench/lmdb.json].
    #[arg(long)]
    json: Option<PathBuf>,
    /// MapleDB's page size in bytes [default: its own default].
    #[arg(long)]
    page_size: Option<usize>,
    /// Address space that MapleDB maps ahead; a few gigabytes under valgrind, which refuses more.
    #[arg(long)]
    reserve_bytes: Option<u64>,
    /// Measure LMDB against itself: the ratios then show how far chance alone goes.
    #[arg(long)]
    calibrate: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Filled {
    Random,
    Sorted,
}

impl Filled {
    fn load(self) -> Load {
        match self {
            Filled::Random => Load::Random,
            Filled::Sorted => Load::Sorted,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Filled::Random => "random",
            Filled::Sorted => "sorted",
        }
    }
}

impl Options {
    fn profile(&self) -> Profile {
        let as_it_comes =
            self.entries == ENTRIES && self.value_bytes == VALUE_BYTES && self.page_size.is_none();
        Profile {
            name: if as_it_comes { "quick" } else { "custom" },
            entries: self.entries,
            value_bytes: self.value_bytes,
            load: self.load.name(),
            page_size: self.page_size,
        }
    }

    fn wants(&self, row: Row) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|text| row.measure.contains(text.as_str()))
    }

    /// Four times what the entries hold, and a gigabyte: for an engine that must be told.
    fn room_bytes(&self) -> u64 {
        (self.entries * (self.value_bytes + 64) * 4) as u64 + (1 << 30)
    }
}

fn at_least_one(text: &str) -> std::result::Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    let data_dir = options.data_dir.clone().unwrap_or_else(|| target.join("data"));
    let data_dir = data_dir.join(format!("lmdb-{}", std::process::id()));
    std::fs::create_dir_all(&data_dir)?;
    let outcome = run(&options, &data_dir, &target);
    std::fs::remove_dir_all(&data_dir)?;
    outcome
}

fn run(options: &Options, data_dir: &Path, target: &Path) -> Result<()> {
    let mut versions = BTreeMap::from([(Lmdb::NAME.to_owned(), Lmdb::version())]);
    if !options.calibrate {
        versions.insert(Maple::NAME.to_owned(), Maple::version());
    }
    let report = Report::new(Machine::here(data_dir, versions)?, options.profile(), !options.calibrate);
    let workload = Workload::new(options.entries, options.value_bytes, options.seed);
    let mut bench = Bench { options, data_dir, workload: &workload, report };
    if options.calibrate {
        bench.measure::<Lmdb>("LMDB again", &())?;
    } else {
        let setup =
            MapleSetup { page_size: options.page_size, reserve_bytes: options.reserve_bytes, verify: None };
        bench.measure::<Maple>(Maple::NAME, &setup)?;
        bench.policies(&setup)?;
    }
    if bench.report.is_empty() {
        return Err("no row's measure contains such a text".into());
    }
    bench.report.summary();
    if machine::load_average().is_some_and(|average| average > 1.5) {
        println!("other processes were busy meanwhile: expect the spread above to tell");
    }
    let json = options.json.clone().unwrap_or_else(|| target.join("lmdb.json"));
    bench.report.write_json(&json)?;
    println!("rows in {}", json.display());
    Ok(())
}

/// What a round of one-put commits answers.
const ONE_PUT_ROWS: [Row; 4] = [row::COMMITS, row::COMMITS_SLOW, row::COMMITS_DIRTIED, row::COMMITS_DEVICE];

/// What a round of batches answers.
const BATCH_ROWS: [Row; 3] = [row::BATCHES, row::BATCHES_DIRTIED, row::BATCHES_DEVICE];

/// Asks LMDB and the other engine the same question in alternating rounds.
macro_rules! both {
    ($warm_up:expr, $rounds:expr, $lmdb:expr, $other:expr, $name:expr, |$engine:ident, $round:ident| $ask:expr) => {
        alternate(
            $warm_up,
            $rounds,
            vec![
                Side::new(Lmdb::NAME, |$round| {
                    let $engine = $lmdb;
                    $ask
                }),
                Side::new($name, |$round| {
                    let $engine = $other;
                    $ask
                }),
            ],
        )?
    };
}

struct Bench<'a> {
    options: &'a Options,
    data_dir: &'a Path,
    workload: &'a Workload,
    report: Report,
}

impl Bench<'_> {
    /// All rows of LMDB and engine `B`, which the table calls `name`.
    fn measure<B: Engine>(&mut self, name: &str, setup: &B::Setup) -> Result<()> {
        let reads = [row::LOOKUPS, row::GROUPS, row::MISSES, row::SCAN, row::RANGES, row::BEGINS];
        if reads.iter().chain(&ONE_PUT_ROWS).chain(&BATCH_ROWS).any(|row| self.options.wants(*row)) {
            let lmdb = self.fill::<Lmdb>("lmdb", &())?;
            let other = self.fill::<B>("other", setup)?;
            self.reads(&lmdb, &other, name)?;
            self.commits(&lmdb, &other, name)?;
            lmdb.close()?;
            other.close()?;
        }
        self.loads::<B>(name, setup, Load::Random, rows::RANDOM_LOAD)?;
        self.loads::<B>(name, setup, Load::Append, rows::APPEND_LOAD)?;
        self.loads::<B>(name, setup, Load::Sorted, rows::SORTED_LOAD)
    }

    /// A filled database, all of whose pages have been touched.
    fn fill<E: Engine>(&self, directory: &str, setup: &E::Setup) -> Result<E> {
        let dir = self.data_dir.join(directory);
        let how = self.options.load.load();
        let loaded = measure::load(&dir, self.options.room_bytes(), setup, self.workload, how)?;
        measure::verify(&loaded.engine, self.workload, 0)?;
        measure::warm(&loaded.engine)?;
        Ok(loaded.engine)
    }

    fn reads<B: Engine>(&mut self, lmdb: &Lmdb, other: &B, name: &str) -> Result<()> {
        let (options, workload) = (self.options, self.workload);
        let rounds = options.repeats;
        if options.wants(row::LOOKUPS) {
            let sums = Agreement::default();
            let [samples] = both!(1, rounds, lmdb, other, name, |engine, round| {
                let keys = Workload::window(&workload.looked_up, ROUND_LOOKUPS, round);
                sums.check(round, measure::lookups(engine, keys)?)
            });
            self.report.add(row::LOOKUPS, samples);
        }
        if options.wants(row::GROUPS) {
            let sums = Agreement::default();
            let [samples] = both!(1, rounds, lmdb, other, name, |engine, round| {
                let keys = Workload::window(&workload.looked_up, ROUND_LOOKUPS, round);
                sums.check(round, measure::groups(engine, keys)?)
            });
            self.report.add(row::GROUPS, samples);
        }
        if options.wants(row::MISSES) {
            let sums = Agreement::default();
            let [samples] = both!(1, rounds, lmdb, other, name, |engine, round| {
                let keys = Workload::window(&workload.missing, ROUND_LOOKUPS, round);
                sums.check(round, measure::misses(engine, keys)?)
            });
            self.report.add(row::MISSES, samples);
        }
        if options.wants(row::SCAN) {
            let sums = Agreement::default();
            let [samples] = both!(1, rounds, lmdb, other, name, |engine, round| {
                sums.check(round, measure::scan(engine)?)
            });
            self.report.add(row::SCAN, samples);
        }
        if options.wants(row::RANGES) {
            let sums = Agreement::default();
            let [samples] = both!(1, rounds, lmdb, other, name, |engine, round| {
                let keys = Workload::window(&workload.looked_up, ROUND_RANGES, round);
                sums.check(round, measure::ranges(engine, keys)?)
            });
            self.report.add(row::RANGES, samples);
        }
        if options.wants(row::BEGINS) {
            let [samples] = both!(1, rounds, lmdb, other, name, |engine, _round| {
                Ok([measure::begins(engine, ROUND_BEGINS)?])
            });
            self.report.add(row::BEGINS, samples);
        }
        Ok(())
    }

    fn commits<B: Engine>(&mut self, lmdb: &Lmdb, other: &B, name: &str) -> Result<()> {
        let (options, workload) = (self.options, self.workload);
        let rounds = options.repeats;
        if ONE_PUT_ROWS.iter().any(|row| options.wants(*row)) {
            let samples = both!(1, rounds, lmdb, other, name, |engine, round| {
                let keys = Workload::window(&workload.looked_up, ROUND_COMMITS, round);
                measure::one_put_commits(engine, workload, keys, round + 1)
            });
            self.add_wanted(ONE_PUT_ROWS, samples);
        }
        if BATCH_ROWS.iter().any(|row| options.wants(*row)) {
            let samples = both!(1, rounds, lmdb, other, name, |engine, round| {
                let keys = Workload::window(&workload.looked_up, ROUND_BATCHES * BATCH_PUTS, round);
                measure::batches(engine, workload, keys, round + 1)
            });
            self.add_wanted(BATCH_ROWS, samples);
        }
        Ok(())
    }

    /// Opens both databases anew in each round, MapleDB's under every verification policy; the first scan
    /// then touches each page for the first time, and lookups follow.
    fn policies(&mut self, setup: &MapleSetup) -> Result<()> {
        let rows = [row::VERIFY_FIRST_SCAN, row::VERIFY_LOOKUPS];
        if !rows.iter().any(|row| self.options.wants(*row)) {
            return Ok(());
        }
        self.fill::<Lmdb>("policy-lmdb", &())?.close()?;
        self.fill::<Maple>("policy-maple", setup)?.close()?;
        let bench = &*self;
        let (scans, lookups) = (&Agreement::default(), &Agreement::default());
        let mut sides = vec![Side::new(Lmdb::NAME, |round| {
            bench.open_and_read::<Lmdb>("policy-lmdb", &(), round, scans, lookups)
        })];
        for (name, verify) in
            [("never", Verify::Never), ("first touch", Verify::FirstTouch), ("always", Verify::Always)]
        {
            let setup = MapleSetup { verify: Some(verify), ..*setup };
            sides.push(Side::new(&format!("{}, {name}", Maple::NAME), move |round| {
                bench.open_and_read::<Maple>("policy-maple", &setup, round, scans, lookups)
            }));
        }
        let samples = alternate(1, self.options.repeats, sides)?;
        self.add_wanted(rows, samples);
        Ok(())
    }

    fn open_and_read<E: Engine>(
        &self,
        directory: &str,
        setup: &E::Setup,
        round: usize,
        scans: &Agreement,
        lookups: &Agreement,
    ) -> Result<[f64; 2]> {
        let engine = E::open(&self.data_dir.join(directory), self.options.room_bytes(), setup)?;
        let [scan] = scans.check(round, measure::scan(&engine)?)?;
        let keys = Workload::window(&self.workload.looked_up, ROUND_LOOKUPS, round);
        let [lookup] = lookups.check(round, measure::lookups(&engine, keys)?)?;
        engine.close()?;
        Ok([scan, lookup])
    }

    /// Fills fresh databases in one transaction each.
    fn loads<B: Engine>(&mut self, name: &str, setup: &B::Setup, how: Load, rows: LoadRows) -> Result<()> {
        if !rows.all().iter().any(|row| self.options.wants(*row)) {
            return Ok(());
        }
        let bench = &*self;
        let samples = alternate(
            0,
            self.options.repeats.div_ceil(4),
            vec![
                Side::new(Lmdb::NAME, |_| bench.load_once::<Lmdb>(&(), how)),
                Side::new(name, |_| bench.load_once::<B>(setup, how)),
            ],
        )?;
        self.add_wanted(rows.all(), samples);
        Ok(())
    }

    fn load_once<E: Engine>(&self, setup: &E::Setup, how: Load) -> Result<[f64; 4]> {
        let dir = self.data_dir.join("load");
        let loaded = measure::load::<E>(&dir, self.options.room_bytes(), setup, self.workload, how)?;
        measure::verify(&loaded.engine, self.workload, 0)?;
        loaded.engine.close()?;
        std::fs::remove_dir_all(&dir)?;
        Ok([loaded.with_commit, loaded.without_commit, loaded.file_bytes, loaded.tree_bytes])
    }

    fn add_wanted<const N: usize>(
        &mut self,
        rows: [Row; N],
        samples: [Vec<mapledb_bench::rounds::Samples>; N],
    ) {
        for (row, samples) in rows.into_iter().zip(samples) {
            if self.options.wants(row) {
                self.report.add(row, samples);
            }
        }
    }
}

/// Holds the sums of a round's sides against each other.
#[derive(Default)]
struct Agreement(RefCell<HashMap<usize, u64>>);

impl Agreement {
    fn check(&self, round: usize, (figure, sum): Checked) -> Result<[f64; 1]> {
        let first = *self.0.borrow_mut().entry(round).or_insert(sum);
        if first != sum {
            return Err(format!("round {round}: the engines read different data ({first} and {sum})").into());
        }
        Ok([figure])
    }
}
