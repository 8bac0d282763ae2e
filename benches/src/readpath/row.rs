//! What was measured, as lines for people, as JSON, and as Markdown; and what it says about `pread` and the map.

use serde::{Deserialize, Serialize};

use super::order::Order;
use super::pass::FIGURES;
use super::state::State;
use super::ways::Kind;
use crate::document::{figure, table};
use crate::records::Unit;
use crate::rounds::Samples;

/// How much faster the other way must be in the median before it is said to win: less is chance.
const MARGIN: f64 = 1.1;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scenario {
    /// The state of memory before.
    pub state: State,
    /// The order of reads.
    pub order: Order,
    /// What one operation reads.
    pub unit: Unit,
    /// Threads that read at once.
    pub threads: usize,
}

impl Scenario {
    /// In words.
    pub fn words(self) -> String {
        let threads =
            if self.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", self.threads) };
        format!("{}, {}, {}, {threads}", self.state.name(), self.order.name(), self.unit.name())
    }
}

/// A median over rounds, and how far they lie apart.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl From<&Samples> for Spread {
    fn from(samples: &Samples) -> Self {
        let (min, max) = samples.spread();
        Self { median: samples.median(), min, max }
    }
}

/// What one way took in one scenario. Counts are the medians of the rounds, for one operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What was done.
    #[serde(flatten)]
    pub scenario: Scenario,
    /// How.
    pub kind: Kind,
    /// The same as a name.
    pub way: String,
    /// Nanoseconds an operation, of a thread, without its waits for a processor.
    pub nanoseconds: Spread,
    /// Operations a second, of all threads together.
    pub per_second: Spread,
    /// Bytes that read calls copied.
    pub bytes_copied: f64,
    /// Read calls.
    pub read_calls: f64,
    /// Faults that needed no device.
    pub minor_faults: f64,
    /// Faults that did.
    pub major_faults: f64,
    /// Bytes read from the device.
    pub device_bytes: f64,
    /// TLB shootdowns, of the whole machine.
    pub shootdowns: f64,
    /// The share of the file in the page cache before; the median of rounds.
    pub resident_before: f64,
    /// Rounds.
    pub rounds: usize,
}

impl Row {
    /// The row of way `index` of a scenario, by the samples of each figure of a pass.
    pub fn new(scenario: Scenario, kind: Kind, samples: &[Vec<Samples>; FIGURES], index: usize) -> Self {
        let of = |figure: usize| &samples[figure][index];
        Self {
            scenario,
            kind,
            way: of(0).side.clone(),
            nanoseconds: of(0).into(),
            per_second: of(1).into(),
            bytes_copied: of(2).median(),
            read_calls: of(3).median(),
            minor_faults: of(4).median(),
            major_faults: of(5).median(),
            device_bytes: of(6).median(),
            shootdowns: of(7).median(),
            resident_before: of(8).median(),
            rounds: of(0).values.len(),
        }
    }

    /// The head of the lines.
    pub fn head() -> String {
        format!(
            "{:<38} {:<18} {:>10} {:>21} {:>11} {:>7} {:>6} {:>6} {:>6} {:>9} {:>6} {:>6}",
            "state, order, read, threads",
            "way",
            "ns/op",
            "lowest to highest",
            "op/s in all",
            "copied",
            "calls",
            "minor",
            "major",
            "device B",
            "shoots",
            "cached"
        )
    }

    /// A line for people. The scenario is left out where the line above says it.
    pub fn line(&self, is_first: bool) -> String {
        let spread = format!("{} to {}", figure(self.nanoseconds.min), figure(self.nanoseconds.max));
        let words = if is_first { self.scenario.words() } else { String::new() };
        format!(
            "{words:<38} {:<18} {:>10} {spread:>21} {:>11} {:>7} {:>6} {:>6} {:>6} {:>9} {:>6} {:>5.0}%",
            self.way,
            figure(self.nanoseconds.median),
            figure(self.per_second.median),
            figure(self.bytes_copied),
            figure(self.read_calls),
            figure(self.minor_faults),
            figure(self.major_faults),
            figure(self.device_bytes),
            figure(self.shootdowns),
            self.resident_before * 100.0
        )
    }
}

/// The scenarios in the order they were done.
pub fn scenarios(rows: &[Row]) -> Vec<Scenario> {
    let mut scenarios: Vec<Scenario> = rows.iter().map(|row| row.scenario).collect();
    scenarios.dedup();
    scenarios
}

fn of(rows: &[Row], scenario: Scenario) -> impl Iterator<Item = &Row> {
    rows.iter().filter(move |row| row.scenario == scenario)
}

/// How the map stood against ways without one: a sentence with the counts, then one for each scenario that it lost.
pub fn findings(rows: &[Row]) -> Vec<String> {
    let scenarios = scenarios(rows);
    let mut lost = Vec::new();
    let (mut against_pread, mut against_cache) = (0, 0);
    for &scenario in &scenarios {
        let Some(map) = of(rows, scenario).find(|row| row.kind == Kind::Map) else { continue };
        let own = map.nanoseconds.median;
        let mut won_by = Vec::new();
        for other in of(rows, scenario).filter(|row| !row.kind.is_maple() && !row.kind.is_map()) {
            let times = own / other.nanoseconds.median;
            if times >= MARGIN {
                won_by.push(format!(
                    "{} {} ns ({times:.1} times as fast)",
                    other.way,
                    figure(other.nanoseconds.median)
                ));
            }
        }
        against_pread += usize::from(won_by.iter().any(|other| other.starts_with("pread")));
        against_cache += usize::from(won_by.iter().any(|other| other.contains("cache")));
        if !won_by.is_empty() {
            lost.push(format!("{}: map {} ns, {}", scenario.words(), figure(own), won_by.join(", ")));
        }
    }
    let all = scenarios.len();
    let mut said = vec![format!(
        "of {all} scenarios, `pread` beats the map by a tenth or more in {against_pread}, a cache in user space in {against_cache}"
    )];
    said.extend(lost);
    said
}

/// Tables of the medians, one for each state, then one of what a read costs beside time.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::new();
    for state in [State::Warm, State::Fresh, State::Cold, State::Limited] {
        let own: Vec<Row> = rows.iter().filter(|row| row.scenario.state == state).cloned().collect();
        if !own.is_empty() {
            text += &format!("**{}**, ns for one operation:\n\n{}\n", state.name(), times(&own));
        }
    }
    text + &format!(
        "**What one read of a record costs** beside time, uniform; shootdowns are those of the whole machine:\n\n{}",
        costs(rows)
    )
}

/// The times of one state; the fastest way to read raw pages is set in bold, and MapleDB, which also searches, is not
/// in the competition.
fn times(rows: &[Row]) -> String {
    let mut ways: Vec<&str> = Vec::new();
    for row in rows {
        if !ways.contains(&row.way.as_str()) {
            ways.push(&row.way);
        }
    }
    let head: Vec<&str> = ["order", "read", "threads"].into_iter().chain(ways.iter().copied()).collect();
    let line = |scenario: Scenario| {
        let own: Vec<&Row> = of(rows, scenario).collect();
        let raw = own.iter().filter(|row| !row.kind.is_maple());
        let best = raw.min_by(|left, right| left.nanoseconds.median.total_cmp(&right.nanoseconds.median));
        let is_best = |row: &Row| best.is_some_and(|best| best.kind == row.kind);
        let cell = |way: &&str| match own.iter().find(|row| row.way == **way) {
            Some(row) if is_best(row) => format!("**{}**", figure(row.nanoseconds.median)),
            Some(row) => figure(row.nanoseconds.median),
            None => String::new(),
        };
        let words =
            [scenario.order.name().to_owned(), scenario.unit.name().to_owned(), scenario.threads.to_string()];
        words.into_iter().chain(ways.iter().map(cell)).collect()
    };
    table(&head, &scenarios(rows).into_iter().map(line).collect::<Vec<_>>())
}

fn costs(rows: &[Row]) -> String {
    let head = [
        "threads",
        "state",
        "way",
        "bytes copied",
        "read calls",
        "minor faults",
        "major faults",
        "bytes from the device",
        "TLB shootdowns",
    ];
    let most = rows.iter().map(|row| row.scenario.threads).max().unwrap_or(1);
    let is_shown = |scenario: Scenario| {
        [1, most].contains(&scenario.threads)
            && scenario.unit == Unit::Record
            && scenario.order == Order::Uniform
    };
    let line = |row: &Row| {
        let counts = [
            row.bytes_copied,
            row.read_calls,
            row.minor_faults,
            row.major_faults,
            row.device_bytes,
            row.shootdowns,
        ];
        let words = [row.scenario.threads.to_string(), row.scenario.state.name().to_owned(), row.way.clone()];
        words.into_iter().chain(counts.map(figure)).collect()
    };
    table(&head, &rows.iter().filter(|row| is_shown(row.scenario)).map(line).collect::<Vec<_>>())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn row(state: State, threads: usize, kind: Kind, nanoseconds: f64) -> Row {
        let scenario = Scenario { state, order: Order::Uniform, unit: Unit::Record, threads };
        let samples: [Vec<Samples>; FIGURES] =
            std::array::from_fn(|_| vec![Samples { side: kind.name(100), values: vec![nanoseconds] }]);
        Row::new(scenario, kind, &samples, 0)
    }

    #[test]
    fn it_is_said_where_pread_wins() {
        let rows = [
            row(State::Warm, 1, Kind::Map, 100.0),
            row(State::Warm, 1, Kind::Pread, 1000.0),
            row(State::Warm, 1, Kind::Maple, 10.0),
            row(State::Cold, 1, Kind::Map, 5000.0),
            row(State::Cold, 1, Kind::Pread, 2000.0),
            row(State::Cold, 1, Kind::Cache(25), 4900.0),
        ];
        let said = findings(&rows);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(
            said[0].starts_with("of 2 scenarios, `pread` beats the map by a tenth or more in 1, a cache")
        );
        assert!(said[0].ends_with("in 0"), "a win of a fiftieth is chance: {said:?}");
        assert_eq!(
            said[1],
            "cold, uniform, record, 1 thread: map 5,000 ns, pread 2,000 ns (2.5 times as fast)"
        );
    }

    #[test]
    fn the_fastest_raw_way_is_bold_in_markdown() {
        let rows = [
            row(State::Warm, 2, Kind::Map, 100.0),
            row(State::Warm, 2, Kind::Cache(25), 90.0),
            row(State::Warm, 2, Kind::Maple, 10.0),
        ];
        let text = markdown(&rows);
        assert!(
            text.contains("| order | read | threads | map | cache 25 % | MapleDB get |\n|---|"),
            "{text}"
        );
        assert!(text.contains("| uniform | record | 2 | 100 | **90.0** | 10.0 |"), "{text}");
    }

    #[test]
    fn a_row_survives_json() {
        let text = serde_json::to_string(&row(State::Limited, 4, Kind::Direct(75), 7.0)).unwrap();
        let row: Row = serde_json::from_str(&text).unwrap();
        assert_eq!(row.scenario.words(), "limited, uniform, record, 4 threads");
        assert_eq!((row.kind, row.way.as_str()), (Kind::Direct(75), "direct cache 75 %"));
    }
}
