//! What the demo prints: tables for a person, one fact a cell.

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{BinaryBytes, HumanCount};

use crate::message::{Latency, Replacement};
use crate::service::Outcome;
use crate::smaps::Memory;
use crate::verdict::Verdict;

/// Lookups and their times, by process. `lookups/s` is over the time spent in lookups, `checked/s` over all of the
/// time: choosing the queries, checking the answers, and waiting for a processor.
pub fn speeds(outcome: &Outcome) -> Table {
    let mut table = table(&[
        "process",
        "pid",
        "lookups",
        "lookups/s",
        "checked/s",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "generations",
    ]);
    for reader in &outcome.readers {
        let report = &reader.report;
        let lookups = report.verdict.lookups;
        let mut row = vec![reader.name.clone(), reader.pid.to_string(), count(lookups)];
        row.extend([report.looking_up_us, report.elapsed_us].map(|us| count(per_second(lookups, us))));
        let Latency { p50_ns, p90_ns, p99_ns, p999_ns, max_ns } = report.latency;
        row.extend([p50_ns, p90_ns, p99_ns, p999_ns, max_ns].map(time));
        row.push(report.generations.to_string());
        table.add_row(row);
    }
    table
}

/// Answers and what was wrong with them, by process.
pub fn answers(outcome: &Outcome) -> Table {
    let mut table = table(&[
        "process",
        "transactions",
        "IPv4 hits",
        "IPv4 misses",
        "IPv6 hits",
        "IPv6 misses",
        "mixed",
        "wrong",
    ]);
    for reader in &outcome.readers {
        let Verdict { transactions, hits, misses, mixed, wrong, .. } = reader.report.verdict;
        let mut row = vec![reader.name.clone()];
        row.extend([transactions, hits[0], misses[0], hits[1], misses[1], mixed, wrong].map(count));
        table.add_row(row);
    }
    table
}

/// Resident memory, by process and in sum.
pub fn memories(outcome: &Outcome) -> Table {
    let mut table = table(&["process", "file RSS", "file PSS", "all RSS", "all PSS"]);
    let mut sum = Memory::default();
    let readers = outcome.readers.iter().map(|reader| (&reader.name, reader.report.memory));
    for (name, memory) in readers.chain([(&outcome.writer.name, outcome.writer.report)]) {
        sum.file += memory.file;
        sum.all += memory.all;
        table.add_row(memory_row(name, memory));
    }
    table.add_row(memory_row("sum", sum));
    table
}

fn memory_row(name: &str, memory: Memory) -> Vec<String> {
    let sizes = [memory.file.rss_bytes, memory.file.pss_bytes, memory.all.rss_bytes, memory.all.pss_bytes];
    let mut row = vec![name.to_owned()];
    row.extend(sizes.map(bytes));
    row
}

/// How long the replacements took and what they did to the file.
pub fn replacements(outcome: &Outcome) -> String {
    let mut loads: Vec<u64> = outcome.replacements.iter().map(|replacement| replacement.load_us).collect();
    let mut commits: Vec<u64> =
        outcome.replacements.iter().map(|replacement| replacement.commit_us).collect();
    format!(
        "load: {} ranges in {}; replacements: {}, one commit each, emptied and loaded in {}, committed in {} (medians)",
        count(outcome.load.ranges),
        time((outcome.load.load_us + outcome.load.commit_us) * 1000),
        outcome.replacements.len(),
        time(median(&mut loads) * 1000),
        time(median(&mut commits) * 1000),
    )
}

/// The file's length after the load and after each replacement.
pub fn growth(outcome: &Outcome) -> String {
    let length = |replacement: &Replacement| replacement.file_bytes;
    let first = length(&outcome.load);
    let last = outcome.replacements.last().map_or(first, length);
    let lengths: Vec<String> =
        outcome.replacements.iter().map(|replacement| (length(replacement) >> 20).to_string()).collect();
    format!(
        "file: {} after the load, {} after {} replacements, {:.2} times; in MiB after each: {}",
        bytes(first),
        bytes(last),
        outcome.replacements.len(),
        last as f64 / first as f64,
        lengths.join(" "),
    )
}

fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head.to_vec());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn per_second(count: u64, us: u64) -> u64 {
    (u128::from(count) * 1_000_000 / u128::from(us.max(1))) as u64
}

fn median(numbers: &mut [u64]) -> u64 {
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied().unwrap_or(0)
}

fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

fn bytes(number: u64) -> String {
    BinaryBytes(number).to_string()
}

fn time(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{ns} ns"),
        10_000..10_000_000 => format!("{} µs", ns / 1_000),
        10_000_000..10_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{} s", ns / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_two_digits_at_least() {
        let cases = [
            (0, "0 ns"),
            (9_999, "9999 ns"),
            (10_000, "10 µs"),
            (10_000_000, "10 ms"),
            (60_000_000_000, "60 s"),
        ];
        for (ns, said) in cases {
            assert_eq!(time(ns), said);
        }
    }

    #[test]
    fn the_median_of_nothing_is_nothing() {
        assert_eq!((median(&mut []), median(&mut [3]), median(&mut [5, 1, 3])), (0, 3, 3));
    }
}
