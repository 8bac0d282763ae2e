//! A run: where it works, whom it asks, how much of it there is, and what it has found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use crate::Result;
use crate::engine::{Durability, Setup};
use crate::engines::{self, Peer, Role};
use crate::entrant::{Direction, Entrant};
use crate::limits::Limits;
use crate::machine::{self, Machine};
use crate::results::{Ask, Results, rows};
use crate::rounds::{Side, alternate};
use crate::workload::{SplitMix64, Workload};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// Seconds: shows that everything runs; its figures mean nothing.
    Smoke,
    /// About eight minutes on two cores.
    Quick,
    /// At most about two hours.
    Full,
}

impl Profile {
    /// As `results.json` has it.
    pub fn name(self) -> &'static str {
        self.pick("smoke", "quick", "full")
    }

    /// What this profile takes.
    pub fn pick<T>(self, smoke: T, quick: T, full: T) -> T {
        match self {
            Profile::Smoke => smoke,
            Profile::Quick => quick,
            Profile::Full => full,
        }
    }

    /// The budget, in words.
    pub fn budget(self) -> &'static str {
        self.pick("seconds", "about eight minutes", "hours")
    }
}

/// Entries of the database that most rows are measured on: 100 MB of keys and values.
pub const ENTRIES_100_MB: usize = 575_000;

/// Entries of a batch in which a database is filled before it is measured.
const FILL_BATCH: usize = 20_000;

/// An open database of a peer.
pub struct Seat {
    /// Whose.
    pub peer: Peer,
    /// The database.
    pub entrant: Box<dyn Entrant>,
    /// Its directory.
    pub dir: PathBuf,
    /// How it was opened.
    pub setup: Setup,
}

/// A closed database of a peer.
pub struct Closed {
    /// Whose.
    pub peer: Peer,
    /// Its directory.
    pub dir: PathBuf,
    /// How it was opened.
    pub setup: Setup,
}

impl Closed {
    /// Opens it.
    pub fn open(&self) -> Result<Seat> {
        let entrant = self.peer.open(&self.dir, &self.setup)?;
        Ok(Seat { peer: self.peer, entrant, dir: self.dir.clone(), setup: self.setup })
    }
}

/// A run.
pub struct Suite {
    /// How much is measured.
    pub profile: Profile,
    /// The seed of everything.
    pub seed: u64,
    /// What the machine can do.
    pub limits: Limits,
    /// The program whose `worker` works in a process of its own.
    pub worker: PathBuf,
    /// What was found.
    pub results: Results,
    peers: Vec<Peer>,
    dir: PathBuf,
    family: &'static str,
    progress: ProgressBar,
}

impl Suite {
    /// A run of `peers` with its databases in `dir`.
    pub fn new(profile: Profile, seed: u64, peers: Vec<Peer>, dir: &Path, worker: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let versions = peers.iter().map(|peer| (peer.name.to_owned(), peer.version())).collect();
        let options = peers.iter().map(|peer| (peer.name.to_owned(), peer.options.to_owned())).collect();
        let skip = |name| format!("{name}: this build was made without it");
        let results = Results {
            machine: Machine::here(dir, versions)?,
            profile: profile.name().to_owned(),
            seed,
            options,
            families: Vec::new(),
            skipped: engines::left_out().into_iter().map(skip).collect(),
            load_averages: BTreeMap::new(),
            rows: Vec::new(),
        };
        let limits = Limits::measure(dir, profile)?;
        let progress = ProgressBar::new(0)
            .with_style(ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len} {msg}")?);
        let worker = worker.to_owned();
        Ok(Self { profile, seed, limits, worker, results, peers, dir: dir.to_owned(), family: "", progress })
    }

    /// Takes over what an earlier run of the same profile, seed, machine and engines found.
    pub fn resume(&mut self, earlier: Results) -> Result<()> {
        let key = |results: &Results| {
            (results.profile.clone(), results.seed, results.machine.clone(), results.options.clone())
        };
        if key(&earlier) != key(&self.results) {
            return Err(
                "the results to go on with are of another profile, seed, machine, or other engines; \
                leave --resume away to measure anew"
                    .into(),
            );
        }
        self.results = earlier;
        Ok(())
    }

    /// Measures the families that are not done yet and saves each to `path`. One that fails is noted, its rows are
    /// dropped, and the others go on; answers how many failed.
    pub fn run(&mut self, families: &[crate::families::Family], path: &Path) -> Result<usize> {
        let due: Vec<_> =
            families.iter().filter(|f| !self.results.families.iter().any(|done| done == f.name)).collect();
        self.progress.set_length(due.len() as u64);
        let mut failed = 0;
        for family in due {
            self.family = family.name;
            self.progress.set_message(family.name);
            self.progress.println(format!("{}: {}", family.name, family.about));
            let outcome = (family.measure)(self);
            self.remove_databases()?;
            if let Err(error) = outcome {
                failed += 1;
                self.results.rows.retain(|row| row.family != family.name);
                self.skip(&format!("the family failed: {error}"));
            } else {
                self.results.families.push(family.name.to_owned());
            }
            if let Some(average) = machine::load_average() {
                self.results.load_averages.insert(family.name.to_owned(), average);
            }
            self.results.save(path)?;
            self.progress.inc(1);
        }
        self.progress.finish_and_clear();
        std::fs::remove_dir_all(&self.dir)?;
        Ok(failed)
    }

    /// Notes that something is not measured, and why.
    pub fn skip(&mut self, reason: &str) {
        let reason = format!("{}: {reason}", self.family);
        self.progress.println(format!("SKIP {reason}"));
        if !self.results.skipped.contains(&reason) {
            self.results.skipped.push(reason);
        }
    }

    /// A source of random numbers of its own for each use.
    pub fn random(&self, salt: u64) -> SplitMix64 {
        SplitMix64::new(self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ salt)
    }

    /// A workload of keys and values of the usual lengths.
    pub fn workload(&self, entries: usize) -> Workload {
        Workload::new(entries, crate::workload::KEY_BYTES, crate::workload::VALUE_BYTES, self.seed)
    }

    /// The peers that stand in rows for one of `roles`.
    pub fn peers(&self, roles: &[Role]) -> Vec<Peer> {
        self.peers.iter().copied().filter(|peer| roles.contains(&peer.role)).collect()
    }

    /// Whether a peer of this name is in the run.
    pub fn has_peer(&self, name: &str) -> bool {
        self.peers.iter().any(|peer| peer.name == name)
    }

    /// An empty directory for the database of a peer.
    pub fn fresh_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(self.family).join(name);
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Opens a fresh database of `peer` for what `workload` puts, and four times that.
    pub fn seat(&self, peer: Peer, durability: Durability, workload: &Workload) -> Result<Seat> {
        let dir = self.dir.join(self.family).join(peer.name);
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        let setup = Setup {
            durability,
            room_bytes: workload.live_bytes() * 8 + (1 << 30),
            cache_bytes: machine::memory_bytes() / 2,
        };
        Ok(Seat { peer, entrant: peer.open(&dir, &setup)?, dir, setup })
    }

    /// A fresh database of each peer that stands in rows for one of `roles`.
    pub fn field(&self, roles: &[Role], durability: Durability, workload: &Workload) -> Result<Vec<Seat>> {
        self.peers(roles).into_iter().map(|peer| self.seat(peer, durability, workload)).collect()
    }

    /// The same, filled in random order, closed, opened and read once.
    pub fn filled(&self, roles: &[Role], durability: Durability, workload: &Workload) -> Result<Vec<Seat>> {
        let mut seats = Vec::new();
        for peer in self.peers(roles) {
            self.progress.set_message(format!("{}: filling {}", self.family, peer.name));
            let seat = self.seat(peer, durability, workload)?;
            fill(seat.entrant.as_ref(), workload)?;
            let seat = seat.reopened()?;
            seat.warm(workload)?;
            seats.push(seat);
        }
        Ok(seats)
    }

    /// Asks every seat the same questions in `rounds` rounds after `warm_up` more, in rotated order, and notes the
    /// answers. NaN is the answer of one that lacks what is asked for.
    pub fn ask<const N: usize>(
        &mut self,
        seats: &[Seat],
        asks: [Ask; N],
        (warm_up, rounds): (usize, usize),
        durability: Option<Durability>,
        answer: impl Fn(&Seat, usize) -> Result<[f64; N]>,
    ) -> Result<()> {
        let answer = &answer;
        let sides = seats
            .iter()
            .map(|seat| {
                let name = seat.peer.name;
                Side::new(name, move |round| {
                    answer(seat, round).map_err(|error| format!("{name}: {error}").into())
                })
            })
            .collect();
        self.note(asks, (warm_up, rounds), durability, sides)
    }

    /// The same of databases that are closed between the rounds.
    pub fn ask_closed<const N: usize>(
        &mut self,
        closed: &[Closed],
        asks: [Ask; N],
        rounds: usize,
        answer: impl Fn(&Closed, usize) -> Result<[f64; N]>,
    ) -> Result<()> {
        let answer = &answer;
        let sides = closed
            .iter()
            .map(|closed| {
                let name = closed.peer.name;
                Side::new(name, move |round| {
                    answer(closed, round).map_err(|error| format!("{name}: {error}").into())
                })
            })
            .collect();
        self.note(asks, (0, rounds), None, sides)
    }

    /// The same of peers that open what they need themselves.
    pub fn ask_peers<const N: usize>(
        &mut self,
        roles: &[Role],
        asks: [Ask; N],
        rounds: usize,
        durability: Durability,
        answer: impl Fn(&Suite, Peer, usize) -> Result<[f64; N]>,
    ) -> Result<()> {
        let samples = {
            let (suite, answer) = (&*self, &answer);
            let side = |peer: Peer| {
                Side::new(peer.name, move |round| {
                    answer(suite, peer, round).map_err(|error| format!("{}: {error}", peer.name).into())
                })
            };
            self.progress.set_message(format!("{}: {}", self.family, asks[0].measure));
            alternate(0, rounds, self.peers(roles).into_iter().map(side).collect())?
        };
        self.keep(asks, Some(durability), samples);
        Ok(())
    }

    fn note<const N: usize>(
        &mut self,
        asks: [Ask; N],
        (warm_up, rounds): (usize, usize),
        durability: Option<Durability>,
        sides: Vec<Side<'_, N>>,
    ) -> Result<()> {
        self.progress.set_message(format!("{}: {}", self.family, asks[0].measure));
        let samples = alternate(warm_up, rounds, sides)?;
        self.keep(asks, durability, samples);
        Ok(())
    }

    /// Notes samples that were taken otherwise.
    pub fn keep<const N: usize>(
        &mut self,
        asks: [Ask; N],
        durability: Option<Durability>,
        samples: [Vec<crate::rounds::Samples>; N],
    ) {
        for (ask, sides) in asks.iter().zip(&samples) {
            let durability = durability.map_or("", Durability::name);
            let found = rows(self.family, self.profile.name(), durability, ask, sides);
            self.results.rows.extend(found);
        }
    }

    /// Bytes of disk that are free for databases.
    pub fn free_bytes(&self) -> Result<u64> {
        machine::free_bytes(&self.dir)
    }

    fn remove_databases(&self) -> Result<()> {
        let dir = self.dir.join(self.family);
        if dir.exists() {
            std::fs::remove_dir_all(dir)?;
        }
        Ok(())
    }
}

/// Fills a database in random order, some thousand entries a commit.
pub fn fill(entrant: &dyn Entrant, workload: &Workload) -> Result<()> {
    let batch = FILL_BATCH.min((64 << 20) / workload.value_bytes).max(1);
    for begin in (0..workload.entries).step_by(batch) {
        let end = (begin + batch).min(workload.entries);
        entrant.puts(&workload.entries(&workload.words(begin..end), 0), batch)?;
    }
    Ok(())
}

/// Fills databases alike in ascending order, a million entries a transaction, the fastest way that each has.
pub fn fill_sorted(seats: &[Seat], workload: &Workload) -> Result<()> {
    for chunk in workload.sorted_words().chunks(1_000_000) {
        let entries = workload.entries(chunk, 0);
        seats.iter().try_for_each(|seat| seat.entrant.sorted_load(&entries).map(|_| ()))?;
    }
    Ok(())
}

impl Seat {
    /// Closed.
    pub fn closed(self) -> Result<Closed> {
        self.entrant.close()?;
        Ok(Closed { peer: self.peer, dir: self.dir, setup: self.setup })
    }

    /// Closed and opened again.
    pub fn reopened(self) -> Result<Self> {
        self.closed()?.open()
    }

    /// Reads everything once, so that each page is where a warm one is, and sees that all is there.
    pub fn warm(&self, workload: &Workload) -> Result<()> {
        let (_, seen) = self.entrant.scan(workload.value_bytes, Direction::Forward)?;
        match seen == workload.entries {
            true => Ok(()),
            false => Err(format!("{}: {seen} entries of {}", self.peer.name, workload.entries).into()),
        }
    }

    /// Closes the database and removes it.
    pub fn remove(self) -> Result<()> {
        self.entrant.close()?;
        Ok(std::fs::remove_dir_all(&self.dir)?)
    }

    /// Bytes of the blocks of all its files.
    pub fn file_bytes(&self) -> Result<f64> {
        Ok(machine::occupied_bytes_in(&self.dir)? as f64)
    }
}

/// Closes all and removes them.
pub fn remove(seats: Vec<Seat>) -> Result<()> {
    seats.into_iter().try_for_each(Seat::remove)
}
