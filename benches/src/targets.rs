//! What MapleDB aims at, as one table, and whether a run's results meet it.

use serde::Serialize;

use crate::results::{Results, Row, figure};

/// What a figure is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// At least so many times better than LMDB in its better mode at the same durability.
    Ratio(f64),
    /// At most this value.
    AtMost(f64),
    /// At least this value.
    AtLeast(f64),
}

/// An aim for one measure.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The measure of the row.
    pub measure: &'static str,
    /// The engine of the row.
    pub engine: &'static str,
    /// What must hold.
    pub aim: Aim,
    /// What is hoped for beyond.
    pub stretch: Option<f64>,
}

const fn target(measure: &'static str, aim: Aim) -> Target {
    Target { measure, engine: "maple", aim, stretch: None }
}

const fn ratio(measure: &'static str, least: f64) -> Target {
    target(measure, Aim::Ratio(least))
}

const fn stretching(target: Target, stretch: f64) -> Target {
    Target { stretch: Some(stretch), ..target }
}

const fn by_batch(target: Target) -> Target {
    Target { engine: "maple-batch", ..target }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    ratio("point read, L2", 1.5),
    ratio("point read, 100 MB", 2.0),
    ratio("point read, 1 GB", 2.2),
    ratio("point read, 4 GB", 2.2),
    ratio("multi_get of 16, 100 MB", 4.0),
    ratio("multi_get of 64, 100 MB", 4.0),
    ratio("multi_get of 16, 1 GB", 4.0),
    ratio("multi_get of 16, 4 GB", 4.0),
    ratio("full scan, forward", 1.5),
    ratio("range of 100, forward", 1.5),
    ratio("begin and end of a read transaction", 1.4),
    stretching(ratio("durable commit, 1 thread, p50", 1.7), 2.0),
    by_batch(stretching(ratio("durable commits/s, 32 threads", 10.0), 20.0)),
    by_batch(stretching(ratio("durable commits/s, 4 processes x 8 threads", 8.0), 15.0)),
    ratio("durable batches of 1,000 random puts, fresh", 4.0),
    ratio("durable batches of 1,000 random puts, last tenth", 3.0),
    target("file to live data after five overwrites", Aim::AtMost(2.5)),
    stretching(ratio("relaxed commits/s", 0.7), 1.0),
    ratio("random insertion in one transaction", 1.5),
    ratio("sorted load", 2.5),
    ratio("overwrite, 100 per durable commit", 1.5),
    ratio("delete, 100 per durable commit", 1.5),
    ratio("file size after random load", 1.1),
    ratio("file size after churn", 2.0),
    target("file to live data, pinned reader and hot writer", Aim::AtMost(3.0)),
    target("churn of large values, last tenth to first", Aim::AtLeast(0.9)),
    ratio("cold random read", 20.0),
    ratio("warm open, 4 GB", 0.5),
    target("cold recovery, 4 GB", Aim::AtMost(10.0)),
    target("count of a range, 10 M entries", Aim::AtMost(5.0)),
    target("pages dirtied per durable one-put commit, less the height", Aim::AtMost(5.0)),
];

/// How a target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// Met.
    #[serde(rename = "PASS")]
    Pass,
    /// Missed.
    #[serde(rename = "MISS")]
    Miss,
    /// No row, or none with what is asked for.
    #[serde(rename = "NOT MEASURED")]
    NotMeasured,
}

impl Verdict {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "PASS",
            Verdict::Miss => "MISS",
            Verdict::NotMeasured => "NOT MEASURED",
        }
    }
}

/// A target beside what was found.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    /// How it stands.
    pub verdict: Verdict,
    /// The measure.
    pub measure: &'static str,
    /// The engine.
    pub engine: &'static str,
    /// What was found.
    pub found: String,
    /// What is aimed at.
    pub aimed_at: String,
}

/// Holds a run against the targets. A smoke run's figures mean nothing and are not judged.
pub fn judge(results: &Results) -> Vec<Judged> {
    let is_real = results.profile != "smoke";
    TARGETS
        .iter()
        .map(|target| target.judge(results.row(target.measure, target.engine).filter(|_| is_real)))
        .collect()
}

impl Target {
    fn judge(&self, row: Option<&Row>) -> Judged {
        let found = row.and_then(|row| match self.aim {
            Aim::Ratio(_) => row.ratio_to_lmdb,
            Aim::AtMost(_) | Aim::AtLeast(_) => Some(row.value),
        });
        let is_met = |found: f64| match self.aim {
            Aim::Ratio(least) | Aim::AtLeast(least) => found >= least,
            Aim::AtMost(most) => found <= most,
        };
        let verdict = match found {
            None => Verdict::NotMeasured,
            Some(found) if is_met(found) => Verdict::Pass,
            Some(_) => Verdict::Miss,
        };
        let unit = row.map_or("", |row| row.unit.as_str());
        let found = match (found, self.aim) {
            (None, _) => "-".to_owned(),
            (Some(found), Aim::Ratio(_)) => format!("{found:.2} x LMDB"),
            (Some(found), _) => format!("{} {unit}", figure(found)),
        };
        Judged { verdict, measure: self.measure, engine: self.engine, found, aimed_at: self.aimed_at(unit) }
    }

    fn aimed_at(&self, unit: &str) -> String {
        let aim = match self.aim {
            Aim::Ratio(least) => format!("{least} x LMDB"),
            Aim::AtMost(most) => format!("at most {most} {unit}").trim_end().to_owned(),
            Aim::AtLeast(least) => format!("at least {least} {unit}").trim_end().to_owned(),
        };
        self.stretch.map_or(aim.clone(), |stretch| format!("{aim}, hoped for {stretch}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Better;

    fn row(value: f64, ratio_to_lmdb: Option<f64>) -> Row {
        Row {
            family: "f".to_owned(),
            measure: "m".to_owned(),
            engine: "maple".to_owned(),
            durability: String::new(),
            value,
            unit: "us".to_owned(),
            better: Better::Lower,
            ratio_to_lmdb,
            profile: "quick".to_owned(),
            rounds: 1,
            min: value,
            max: value,
            limit: None,
            curve: None,
            at: None,
        }
    }

    #[test]
    fn a_target_is_met_at_its_value_and_missed_below() {
        let verdict = |aim, row: Option<Row>| target("m", aim).judge(row.as_ref()).verdict;
        assert_eq!(verdict(Aim::Ratio(1.5), Some(row(1.0, Some(1.5)))), Verdict::Pass);
        assert_eq!(verdict(Aim::Ratio(1.5), Some(row(1.0, Some(1.49)))), Verdict::Miss);
        assert_eq!(verdict(Aim::Ratio(1.5), Some(row(1.0, None))), Verdict::NotMeasured);
        assert_eq!(verdict(Aim::AtMost(5.0), Some(row(5.0, None))), Verdict::Pass);
        assert_eq!(verdict(Aim::AtMost(5.0), Some(row(5.1, None))), Verdict::Miss);
        assert_eq!(verdict(Aim::AtLeast(0.9), Some(row(0.8, None))), Verdict::Miss);
        assert_eq!(verdict(Aim::AtLeast(0.9), None), Verdict::NotMeasured);
    }

    #[test]
    fn each_target_is_there_once() {
        for (at, target) in TARGETS.iter().enumerate() {
            assert!(TARGETS[..at].iter().all(|other| other.measure != target.measure), "{}", target.measure);
        }
    }
}
