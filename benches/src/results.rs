//! Rows: one figure of one engine each, as `results.json` holds them, and the ratios between them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::machine::Machine;
use crate::rounds::Samples;

/// Which figures are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Times and sizes.
    Lower,
    /// Rates.
    Higher,
}

/// A question that engines are asked.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What is measured.
    pub measure: String,
    /// The unit of its figures.
    pub unit: &'static str,
    /// Which are better.
    pub better: Better,
    /// The name of the curve that it is a point of, and where.
    pub curve: Option<(&'static str, f64)>,
    /// What the machine itself could do, in the same unit.
    pub limit: Option<f64>,
}

impl Ask {
    /// A time or a size.
    pub fn lower(measure: impl Into<String>, unit: &'static str) -> Self {
        Self { measure: measure.into(), unit, better: Better::Lower, curve: None, limit: None }
    }

    /// A rate.
    pub fn higher(measure: impl Into<String>, unit: &'static str) -> Self {
        Self { better: Better::Higher, ..Self::lower(measure, unit) }
    }

    /// The same as a point of a curve.
    pub fn on(self, curve: &'static str, at: f64) -> Self {
        Self { curve: Some((curve, at)), ..self }
    }

    /// The same beside what the machine could do.
    pub fn limit(self, limit: Option<f64>) -> Self {
        Self { limit, ..self }
    }
}

/// One figure of one engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The family it was measured in.
    pub family: String,
    /// What is measured.
    pub measure: String,
    /// Whose figure it is.
    pub engine: String,
    /// What commits promised; empty where nothing is written.
    pub durability: String,
    /// The median of the rounds.
    pub value: f64,
    /// The unit.
    pub unit: String,
    /// Which figures are better.
    pub better: Better,
    /// The median of the rounds' own ratios to LMDB's better mode, above 1 where this engine is better.
    pub ratio_to_lmdb: Option<f64>,
    /// `quick` or `full`.
    pub profile: String,
    /// How often it was measured.
    pub rounds: usize,
    /// The smallest of the rounds.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// What the machine itself could do.
    pub limit: Option<f64>,
    /// The curve that it is a point of.
    pub curve: Option<String>,
    /// Where on it.
    pub at: Option<f64>,
}

/// What a run has found so far.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// Where it took place.
    pub machine: Machine,
    /// `smoke`, `quick` or `full`.
    pub profile: String,
    /// The seed of all keys.
    pub seed: u64,
    /// How each engine was set up.
    pub options: BTreeMap<String, String>,
    /// The families that are done.
    pub families: Vec<String>,
    /// What was left out or failed, and why.
    pub skipped: Vec<String>,
    /// Processes that wanted a processor when each family ended, on average over a minute.
    pub load_averages: BTreeMap<String, f64>,
    /// The figures.
    pub rows: Vec<Row>,
}

impl Results {
    /// Reads a file that [`Results::save`] wrote.
    pub fn load(path: &Path) -> Result<Self> {
        let refuse = |error: &dyn std::fmt::Display| {
            format!("cannot read results from {}: {error}; `make bench` writes them", path.display())
        };
        let text = std::fs::read_to_string(path).map_err(|error| refuse(&error))?;
        Ok(serde_json::from_str(&text).map_err(|error| refuse(&error))?)
    }

    /// Writes it all, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let unfinished = path.with_extension("json.unfinished");
        std::fs::write(&unfinished, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(std::fs::rename(&unfinished, path)?)
    }

    /// The row of an engine.
    pub fn row(&self, measure: &str, engine: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.measure == measure && row.engine == engine)
    }

    /// The measures of a family in the order they were asked, each once.
    pub fn measures(&self, family: &str) -> Vec<&str> {
        let mut measures = Vec::new();
        for row in self.rows.iter().filter(|row| row.family == family) {
            if !measures.contains(&row.measure.as_str()) {
                measures.push(row.measure.as_str());
            }
        }
        measures
    }
}

/// The rows of one question. A side without a figure, which lacks what was asked for, has none.
pub fn rows(family: &str, profile: &str, durability: &str, ask: &Ask, sides: &[Samples]) -> Vec<Row> {
    let answered: Vec<&Samples> = sides.iter().filter(|side| side.median().is_finite()).collect();
    let base = baseline(ask.better, &answered);
    let row = |side: &&Samples| {
        let (min, max) = side.spread();
        Row {
            family: family.to_owned(),
            measure: ask.measure.clone(),
            engine: side.side.clone(),
            durability: durability.to_owned(),
            value: side.median(),
            unit: ask.unit.to_owned(),
            better: ask.better,
            ratio_to_lmdb: base.map(|base| ratio(ask.better, side, base)).filter(|ratio| ratio.is_finite()),
            profile: profile.to_owned(),
            rounds: side.values.len(),
            min,
            max,
            limit: ask.limit,
            curve: ask.curve.map(|(name, _)| name.to_owned()),
            at: ask.curve.map(|(_, at)| at),
        }
    };
    answered.iter().map(row).collect()
}

/// LMDB in the mode that is better at this.
fn baseline<'a>(better: Better, sides: &[&'a Samples]) -> Option<&'a Samples> {
    let modes = sides.iter().copied().filter(|side| side.side == "lmdb" || side.side == "lmdb-writemap");
    let by_median = |a: &&Samples, b: &&Samples| a.median().total_cmp(&b.median());
    match better {
        Better::Lower => modes.min_by(by_median),
        Better::Higher => modes.max_by(by_median),
    }
}

/// Above 1 where `side` is better than `base`.
fn ratio(better: Better, side: &Samples, base: &Samples) -> f64 {
    match better {
        Better::Lower => base.by(side),
        Better::Higher => side.by(base),
    }
}

/// A figure with three to four significant digits.
pub fn figure(value: f64) -> String {
    match value.abs() {
        v if !v.is_finite() => "n/a".to_owned(),
        v if v >= 1e9 => format!("{:.2} G", value / 1e9),
        v if v >= 1e6 => format!("{:.2} M", value / 1e6),
        v if v >= 1e5 => format!("{:.0} K", value / 1e3),
        v if v >= 1e4 => format!("{:.1} K", value / 1e3),
        v if v >= 1e3 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(name: &str, values: &[f64]) -> Samples {
        Samples { side: name.to_owned(), values: values.to_vec() }
    }

    #[test]
    fn a_ratio_above_one_always_means_better_than_the_better_mode_of_lmdb() {
        let sides = [
            side("maple", &[100.0]),
            side("lmdb", &[300.0]),
            side("lmdb-writemap", &[200.0]),
            side("redb", &[400.0]),
        ];
        let ratios = |ask: Ask| -> Vec<Option<f64>> {
            rows("f", "quick", "", &ask, &sides).iter().map(|row| row.ratio_to_lmdb).collect()
        };
        assert_eq!(ratios(Ask::lower("m", "ns")), [Some(2.0), Some(2.0 / 3.0), Some(1.0), Some(0.5)]);
        assert_eq!(ratios(Ask::higher("m", "1/s"))[0], Some(1.0 / 3.0));
        assert_eq!(ratios(Ask::higher("m", "1/s"))[1], Some(1.0));
    }

    #[test]
    fn who_lacks_what_is_asked_for_has_no_row_and_without_lmdb_there_is_no_ratio() {
        let sides = [side("maple", &[1.0, 3.0, 2.0]), side("redb", &[f64::NAN; 3])];
        let rows = rows("f", "quick", "sync", &Ask::lower("m", "ns"), &sides);
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].value, rows[0].min, rows[0].max, rows[0].rounds), (2.0, 1.0, 3.0, 3));
        assert_eq!(rows[0].ratio_to_lmdb, None);
    }

    #[test]
    fn figures_have_three_or_four_digits() {
        let shown: Vec<String> =
            [0.123, 12.34, 1234.0, 45_678.0, 456_789.0, 2_500_000.0, f64::NAN].map(figure).to_vec();
        assert_eq!(shown, ["0.12", "12.3", "1234", "45.7 K", "457 K", "2.50 M", "n/a"]);
    }
}
