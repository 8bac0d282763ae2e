//! Rows: a question, its figures by side, the ratio to LMDB and the target; printed as a table while the run
//! goes on, and written as JSON at its end.

use std::path::Path;

use serde::Serialize;

use crate::Result;
use crate::machine::Machine;
use crate::rounds::Samples;

/// Which figures are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Times and sizes.
    Lower,
    /// Rates.
    Higher,
}

/// A question.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What is measured; the row filter looks here.
    pub measure: &'static str,
    /// The unit of its figures.
    pub unit: &'static str,
    /// Which are better.
    pub better: Better,
    /// The durability on both sides; empty where nothing is written.
    pub durability: &'static str,
    /// The ratio to LMDB that is aimed at.
    pub target: Option<f64>,
}

impl Row {
    /// The ratio to LMDB, above 1 where `side` is better.
    pub fn ratio(&self, side: &Samples, lmdb: &Samples) -> f64 {
        match self.better {
            Better::Lower => lmdb.by(side),
            Better::Higher => side.by(lmdb),
        }
    }
}

/// One figure of one engine, as the JSON file holds it.
#[derive(Serialize)]
struct Record<'a> {
    measure: &'a str,
    engine: &'a str,
    durability: &'a str,
    value: f64,
    unit: &'a str,
    ratio_to_lmdb: f64,
    low: f64,
    high: f64,
    samples: &'a [f64],
    target: Option<f64>,
    verdict: Option<&'a str>,
    profile: &'a str,
    entries: usize,
    value_bytes: usize,
    load: &'a str,
    page_size: Option<usize>,
    #[serde(flatten)]
    machine: &'a Machine,
}

/// What a run is called in its records.
#[derive(Clone, Debug)]
pub struct Profile {
    /// `quick` as it comes, `custom` when an option changed the workload.
    pub name: &'static str,
    /// Entries in the database.
    pub entries: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// The order that the database was filled in.
    pub load: &'static str,
    /// MapleDB's page size where it is not its default.
    pub page_size: Option<usize>,
}

/// The rows of a run so far.
pub struct Report {
    machine: Machine,
    profile: Profile,
    judge: bool,
    rows: Vec<(Row, Vec<Samples>)>,
}

impl Report {
    /// An empty report. Prints the head of the table. Without `judge` the rows' targets are left out.
    pub fn new(machine: Machine, profile: Profile, judge: bool) -> Self {
        println!("{}, Linux {}, {}", machine.machine, machine.kernel, machine.file_system);
        for (engine, version) in &machine.versions {
            println!("{engine} {version}");
        }
        println!(
            "{} entries of {}-byte random keys and {}-byte values, filled in {} order",
            profile.entries,
            crate::workload::KEY_BYTES,
            profile.value_bytes,
            profile.load
        );
        println!("ratio: the median of the rounds' own ratios, above 1 where better than LMDB\n");
        println!(
            "{:<46} {:<9} {:<22} {:>10} {:>23} {:>7} {:>7}",
            "measure", "unit", "engine", "median", "lowest to highest", "ratio", "target"
        );
        Self { machine, profile, judge, rows: Vec::new() }
    }

    /// Adds a row and prints it, LMDB's line first.
    pub fn add(&mut self, mut row: Row, samples: Vec<Samples>) {
        row.target = row.target.filter(|_| self.judge);
        for (index, side) in samples.iter().enumerate() {
            let ratio = row.ratio(side, &samples[0]);
            let (low, high) = side.spread();
            let spread = format!("{} to {}", figure(low), figure(high));
            let judged = match verdict(row, index, ratio) {
                Some(verdict) => format!("{ratio:>7.2} {:>7} {verdict}", figure(row.target.unwrap_or(0.0))),
                None if index == 0 => String::new(),
                None => format!("{ratio:>7.2}"),
            };
            let (measure, unit) = if index == 0 { (row.measure, row.unit) } else { ("", "") };
            let median = figure(side.median());
            let line =
                format!("{measure:<46} {unit:<9} {:<22} {median:>10} {spread:>23} {judged}", side.side);
            println!("{}", line.trim_end());
        }
        self.rows.push((row, samples));
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Prints how many targets were met, and which were not.
    pub fn summary(&self) {
        if !self.judge {
            return;
        }
        let mut missed = Vec::new();
        let mut judged = 0;
        for (row, samples) in &self.rows {
            for (index, side) in samples.iter().enumerate() {
                let ratio = row.ratio(side, &samples[0]);
                match verdict(*row, index, ratio) {
                    Some("MISS") => {
                        judged += 1;
                        missed.push(format!(
                            "{} ({ratio:.2}, target {})",
                            row.measure,
                            row.target.unwrap_or(0.0)
                        ));
                    }
                    Some(_) => judged += 1,
                    None => {}
                }
            }
        }
        println!("\n{} of {judged} targets met", judged - missed.len());
        for row in missed {
            println!("  MISS {row}");
        }
    }

    /// Writes the rows to `path` as an array of JSON objects, one for each measure and engine.
    pub fn write_json(&self, path: &Path) -> Result<()> {
        let mut records = Vec::new();
        for (row, samples) in &self.rows {
            for (index, side) in samples.iter().enumerate() {
                let ratio = row.ratio(side, &samples[0]);
                let (low, high) = side.spread();
                records.push(Record {
                    measure: row.measure,
                    engine: &side.side,
                    durability: row.durability,
                    value: side.median(),
                    unit: row.unit,
                    ratio_to_lmdb: ratio,
                    low,
                    high,
                    samples: &side.values,
                    target: row.target.filter(|_| index > 0),
                    verdict: verdict(*row, index, ratio),
                    profile: self.profile.name,
                    entries: self.profile.entries,
                    value_bytes: self.profile.value_bytes,
                    load: self.profile.load,
                    page_size: self.profile.page_size,
                    machine: &self.machine,
                });
            }
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, serde_json::to_string_pretty(&records)? + "\n")?;
        Ok(())
    }
}

/// Whether the side at `index` met the row's target; LMDB, the side at 0, is not judged.
fn verdict(row: Row, index: usize, ratio: f64) -> Option<&'static str> {
    let target = row.target.filter(|_| index > 0)?;
    Some(if ratio >= target { "PASS" } else { "MISS" })
}

/// A figure with three to four significant digits.
fn figure(value: f64) -> String {
    match value {
        v if v.is_nan() => "n/a".to_owned(),
        v if v >= 10_000_000.0 => format!("{:.1}M", v / 1e6),
        v if v >= 1000.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_above_one_always_means_better() {
        let row = |better| Row { measure: "m", unit: "u", better, durability: "", target: Some(1.5) };
        let samples = |value| Samples { side: String::new(), values: vec![value] };
        assert_eq!(row(Better::Lower).ratio(&samples(100.0), &samples(200.0)), 2.0);
        assert_eq!(row(Better::Higher).ratio(&samples(200.0), &samples(100.0)), 2.0);
        assert_eq!(verdict(row(Better::Lower), 1, 1.5), Some("PASS"));
        assert_eq!(verdict(row(Better::Lower), 1, 1.49), Some("MISS"));
        assert_eq!(verdict(row(Better::Lower), 0, 1.0), None);
    }
}
