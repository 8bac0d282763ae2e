//! `maple metrics FILE`: counters and sizes as OpenMetrics text, for whoever scrapes them.

use clap::Args;
use mapledb::{Env, Info};
use serde::Serialize;

use crate::cli::{Manner, Reading};
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output::{self, Output};

/// Print counters and sizes as OpenMetrics text
#[derive(Debug, Args)]
#[command(after_help = SINCE_WHEN)]
pub struct MetricsArgs {
    #[command(flatten)]
    database: Reading,
}

const SINCE_WHEN: &str = "\
Counters are those of all processes since the first of them opened the file; they begin anew when all have closed it. \
The text may be put into a file for a node exporter as it is.";

#[derive(Debug, Serialize)]
struct Metrics {
    path: String,
    metrics: Vec<Metric>,
}

#[derive(Debug, Serialize)]
struct Metric {
    name: String,
    kind: Kind,
    help: &'static str,
    value: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Counter,
    Gauge,
}

/// Prints them.
pub fn run(args: &MetricsArgs, manner: Manner) -> Result<(), Failure> {
    let env = door::open_to_read(&args.database, manner)?;
    let info = env.info().map_err(failure)?;
    let mut metrics = counters(&env);
    metrics.extend(gauges(&info));
    let metrics = Metrics { path: info.path.display().to_string(), metrics };
    output::report(manner.json, &metrics, Metrics::as_text)
}

fn counters(env: &Env) -> Vec<Metric> {
    let counter = |(name, value): (&'static str, u64)| Metric {
        name: format!("maple_{name}"),
        kind: Kind::Counter,
        help: help(name),
        value,
    };
    env.metrics().counts.into_iter().map(counter).collect()
}

fn help(counter: &str) -> &'static str {
    match counter {
        "commits" => "Write transactions committed.",
        "relaxed_commits" => "Commits published before they were durable.",
        "aborts" => "Write transactions given up.",
        "pages_written" => "Pages written by commits.",
        "bytes_synced" => "Bytes handed to the system to sync.",
        "syncs" => "Syncs.",
        "growths" => "Times the file grew.",
        "takeovers" => "Times a writer lock was taken over from a dead process.",
        "pages_freed" => "Pages given up by commits.",
        "pages_reused" => "Free pages used again.",
        "writer_waits" => "Times a writer waited for its turn.",
        "reaped_blocks" => "Dead processes cleaned up after.",
        "recoveries" => "Recoveries at opening.",
        "healed" => "Recoveries from a failed sync.",
        "reads_begun" => "Read transactions begun.",
        "gets" => "Keys looked up in read transactions.",
        "changes" => "Calls that changed a table.",
        _ => "A count over all processes.",
    }
}

fn gauges(info: &Info) -> Vec<Metric> {
    let page = info.page_size as u64;
    let bytes = |pages: u64| pages.saturating_mul(page);
    [
        ("file_bytes", "The length of the file.", info.file_bytes),
        ("allocated_bytes", "What the file takes of the disk.", info.allocated_bytes),
        ("used_bytes", "Up to the first page never allocated, metas left out.", bytes(info.used_pages)),
        ("available_bytes", "Free space that may be used at once.", bytes(info.available_pages)),
        ("waiting_bytes", "Free space that waits for a snapshot to go.", bytes(info.waiting_pages)),
        ("reserve_bytes", "Address space mapped ahead.", info.reserve_bytes),
        ("page_size_bytes", "The size of a page.", page),
        ("txnid", "The latest commit.", info.txnid),
        ("durable_txnid", "The latest durable commit.", info.durable_txnid),
        ("readers", "Read transactions alive.", info.readers),
        (
            "reader_lag_txns",
            "How far the oldest reader is behind the latest commit.",
            info.oldest_reader_txnid.map_or(0, |oldest| info.txnid.saturating_sub(oldest)),
        ),
        ("poisoned", "1 if a sync has failed and nobody has recovered since.", u64::from(info.is_poisoned)),
    ]
    .map(|(name, help, value)| Metric { name: format!("maple_{name}"), kind: Kind::Gauge, help, value })
    .into()
}

impl Metrics {
    fn as_text(&self, output: &mut Output) -> Result<(), Failure> {
        let path = escaped(&self.path);
        for Metric { name, kind, help, value } in &self.metrics {
            let (word, suffix) = match kind {
                Kind::Counter => ("counter", "_total"),
                Kind::Gauge => ("gauge", ""),
            };
            output.line(format!("# TYPE {name} {word}"))?;
            if name.ends_with("_bytes") {
                output.line(format!("# UNIT {name} bytes"))?;
            }
            output.line(format!("# HELP {name} {help}"))?;
            output.line(format!("{name}{suffix}{{path=\"{path}\"}} {value}"))?;
        }
        output.line("# EOF")
    }
}

/// A label's value, as the format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\\b\"c\nd"), r#"a\\b\"c\nd"#);
    }
}
