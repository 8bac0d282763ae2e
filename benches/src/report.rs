//! The results as a page: first MapleDB against the best of its peers, then the targets, curves, and a table for each
//! family. Markdown with SVG beside it, made of `results.json` alone.

use std::fmt::Write;
use std::path::Path;

use plotters::prelude::*;

use crate::Result;
use crate::families::{self, Family};
use crate::reasons::{self, Reason};
use crate::results::{Better, Results, Row, figure};
use crate::targets;

/// The curves that are drawn, each with its file, the name of its horizontal axis, and that of its vertical one.
const CURVES: [(&str, &str, &str, &str); 4] = [
    ("point read by bytes of data", "point-read.svg", "bytes of keys and values", "ns a lookup"),
    ("durable commits/s by threads", "commits.svg", "threads", "durable commits a second"),
    ("puts/s in durable batches by tenth of life", "aging.svg", "tenth of five overwrites", "puts a second"),
    ("point read by entries", "growth.svg", "entries", "ns a lookup"),
];

const SIZE: (u32, u32) = (800, 480);

/// Writes `README.md`, the curves and a copy of the results into `dir`.
pub fn write(results: &Results, dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let mut drawn = Vec::new();
    for (curve, file, across, up) in CURVES {
        if plot(results, curve, (across, up), &dir.join(file))? {
            drawn.push((curve, file));
        }
    }
    std::fs::write(dir.join("README.md"), page(results, &drawn)?)?;
    results.save(&dir.join("results.json"))
}

/// The page, which shows the `drawn` curves.
pub fn page(results: &Results, drawn: &[(&str, &str)]) -> Result<String> {
    let mut page = String::new();
    head(&mut page, results)?;
    best_peers(&mut page, results)?;
    where_behind(&mut page, results)?;
    aims(&mut page, results)?;
    if !drawn.is_empty() {
        writeln!(page, "## Curves\n")?;
        for (curve, file) in drawn {
            writeln!(page, "![{curve}]({file})\n")?;
        }
    }
    for family in families::ALL {
        table(&mut page, results, family)?;
    }
    setups(&mut page, results)?;
    Ok(page.trim_end().to_owned() + "\n")
}

fn head(page: &mut String, results: &Results) -> Result<()> {
    let machine = &results.machine;
    writeln!(page, "# MapleDB beside its peers\n")?;
    writeln!(
        page,
        "Profile `{}`, seed {}, on {}, Linux {}, {}. All engines ran in one run, in rotated order in each round; figures are \
         medians of the rounds, and [results.json](results.json) has the spread. A ratio above 1 always means that the \
         engine named is better.\n",
        results.profile, results.seed, machine.machine, machine.kernel, machine.file_system
    )?;
    let busiest = results.load_averages.values().copied().fold(0.0, f64::max);
    if busiest > machine.processors() as f64 + 0.5 {
        writeln!(
            page,
            "The machine was busy with other work meanwhile (load average up to {busiest:.1}): ratios are worth more than \
             absolute figures.\n"
        )?;
    }
    writeln!(
        page,
        "Run it again: `make bench` (minutes once built) or `make bench-full` (hours, goes on where \
         it was stopped) writes this page; `make bench-targets` holds it against the targets.\n"
    )?;
    Ok(())
}

/// MapleDB's better mode and the best of the others, for a measure.
fn contest<'a>(results: &'a Results, measure: &str) -> Option<(&'a Row, &'a Row)> {
    let rows = || results.rows.iter().filter(|row| row.measure == measure);
    let own = best(rows().filter(|row| matches!(row.engine.as_str(), "maple" | "maple-group" | "maple-batch")))?;
    let peer = best(rows().filter(|row| !row.engine.starts_with("maple")))?;
    Some((own, peer))
}

fn best<'a>(rows: impl Iterator<Item = &'a Row>) -> Option<&'a Row> {
    rows.reduce(|a, b| if is_better(b, a) { b } else { a })
}

fn is_better(a: &Row, b: &Row) -> bool {
    match a.better {
        Better::Lower => a.value < b.value,
        Better::Higher => a.value > b.value,
    }
}

/// Every measure that MapleDB and another have, with how far ahead MapleDB is of the best other.
fn contests(results: &Results) -> Vec<(&Row, &Row, f64)> {
    let measures = families::ALL.iter().flat_map(|family| results.measures(family.name));
    let contests = measures.filter_map(|measure| contest(results, measure));
    let with_ratio = contests.map(|(own, peer)| match own.better {
        Better::Lower => (own, peer, peer.value / own.value),
        Better::Higher => (own, peer, own.value / peer.value),
    });
    with_ratio.collect()
}

fn best_peers(page: &mut String, results: &Results) -> Result<()> {
    writeln!(page, "## MapleDB against the best peer\n")?;
    writeln!(page, "| measure | unit | durability | MapleDB | best peer | ratio | ratio to LMDB |")?;
    writeln!(page, "|---|---|---|---:|---:|---:|---:|")?;
    let contests = contests(results);
    for (own, peer, ratio) in &contests {
        let mode = match own.engine.as_str() {
            "maple-group" => " (group)",
            "maple-batch" => " (batch)",
            _ => "",
        };
        let shown = if *ratio >= 1.0 { format!("{ratio:.2}") } else { format!("**{ratio:.2}**") };
        let to_lmdb = own.ratio_to_lmdb.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        writeln!(
            page,
            "| {} | {} | {} | {}{mode} | {} {} | {shown} | {to_lmdb} |",
            own.measure,
            own.unit,
            own.durability,
            figure(own.value),
            peer.engine,
            figure(peer.value)
        )?;
    }
    let ahead = contests.iter().filter(|(_, _, ratio)| *ratio >= 1.0).count();
    writeln!(
        page,
        "\nAhead of, or level with, every peer in {ahead} of {} rows; the others are bold.\n",
        contests.len()
    )?;
    Ok(())
}

/// The measures in which another is ahead, with what is said of each, alike ones together.
pub fn behind(results: &Results) -> Vec<(Option<&'static Reason>, Vec<String>)> {
    let mut groups: Vec<(Option<&'static Reason>, Vec<String>)> = Vec::new();
    for (own, peer, ratio) in contests(results).into_iter().filter(|(_, _, ratio)| *ratio < 1.0) {
        let reason = reasons::of(&own.measure);
        let title = |reason: Option<&Reason>| reason.map(|reason| reason.title);
        let row = format!("{} ({ratio:.2} of {})", own.measure, peer.engine);
        match groups.iter_mut().find(|(other, _)| title(*other) == title(reason)) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((reason, vec![row])),
        }
    }
    groups
}

fn where_behind(page: &mut String, results: &Results) -> Result<()> {
    writeln!(page, "## Where another is ahead, and why\n")?;
    for (reason, rows) in behind(results) {
        let rows = rows.join("; ");
        match reason {
            Some(Reason { title, why, remedy, .. }) => {
                writeln!(
                    page,
                    "- **{}.** {why} What it would take: {remedy}\n  *Rows: {rows}.*",
                    capitalised(title)
                )?;
            }
            None => writeln!(page, "- **Not explained yet.** *Rows: {rows}.*")?,
        }
    }
    writeln!(page)?;
    Ok(())
}

fn capitalised(title: &str) -> String {
    let mut letters = title.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn aims(page: &mut String, results: &Results) -> Result<()> {
    writeln!(page, "## Targets\n")?;
    writeln!(page, "| | measure | engine | found | aimed at |\n|---|---|---|---:|---:|")?;
    for judged in targets::judge(results) {
        let (verdict, measure, engine) = (judged.verdict.name(), judged.measure, judged.engine);
        writeln!(page, "| {verdict} | {measure} | {engine} | {} | {} |", judged.found, judged.aimed_at)?;
    }
    writeln!(page)?;
    Ok(())
}

fn table(page: &mut String, results: &Results, family: &Family) -> Result<()> {
    let measures = results.measures(family.name);
    if measures.is_empty() {
        return Ok(());
    }
    let answered =
        |engine: &&String| results.rows.iter().any(|row| row.family == family.name && row.engine == **engine);
    let engines: Vec<&String> = results.options.keys().filter(answered).collect();
    writeln!(page, "## {}\n\n{} In brackets: the ratio to LMDB's better mode.\n", family.name, family.about)?;
    let names: Vec<&str> = engines.iter().map(|engine| engine.as_str()).collect();
    writeln!(page, "| measure | unit | durability | {} | limit |", names.join(" | "))?;
    writeln!(page, "|---|---|---|{}---:|", "---:|".repeat(engines.len()))?;
    for measure in measures {
        let Some(first) = results.rows.iter().find(|row| row.measure == measure) else { continue };
        write!(page, "| {measure} | {} | {} |", first.unit, first.durability)?;
        for engine in &engines {
            write!(page, " {} |", results.row(measure, engine).map_or("-".to_owned(), cell))?;
        }
        writeln!(page, " {} |", first.limit.map_or("-".to_owned(), figure))?;
    }
    writeln!(page)?;
    Ok(())
}

fn cell(row: &Row) -> String {
    match row.ratio_to_lmdb {
        Some(ratio) => format!("{} ({ratio:.2})", figure(row.value)),
        None => figure(row.value),
    }
}

fn setups(page: &mut String, results: &Results) -> Result<()> {
    writeln!(page, "## Engines\n\n| engine | version | how it was set up |\n|---|---|---|")?;
    for (engine, options) in &results.options {
        let version = results.machine.versions.get(engine).map_or("unknown", String::as_str);
        writeln!(page, "| {engine} | {version} | {options} |")?;
    }
    writeln!(page)?;
    if !results.skipped.is_empty() {
        writeln!(page, "## Not measured\n")?;
        for reason in &results.skipped {
            writeln!(page, "- {reason}")?;
        }
    }
    Ok(())
}

/// Draws a curve of each engine that has two points of it; answers whether there was any.
fn plot(results: &Results, curve: &str, (across, up): (&str, &str), path: &Path) -> Result<bool> {
    let lines: Vec<(&String, Vec<(f64, f64)>)> = results
        .options
        .keys()
        .map(|engine| (engine, points(results, curve, engine)))
        .filter(|(_, points)| points.len() > 1)
        .collect();
    let all = || lines.iter().flat_map(|(_, points)| points.iter().copied());
    let bounds = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, 0.0f64), |(low, high), value| (low.min(value), high.max(value)))
    };
    if lines.is_empty() {
        return Ok(false);
    }
    let (left, right) = bounds(&mut all().map(|point| point.0));
    let (low, high) = bounds(&mut all().map(|point| point.1));
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(curve, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d((left..right).log_scale(), (low * 0.8..high * 1.25).log_scale())?;
    let label = |value: &f64| figure(*value);
    chart
        .configure_mesh()
        .x_desc(across)
        .y_desc(up)
        .x_label_formatter(&label)
        .y_label_formatter(&label)
        .draw()?;
    for (at, (engine, points)) in lines.iter().enumerate() {
        let color = Palette99::pick(at).to_rgba();
        let width = if engine.starts_with("maple") { 3 } else { 1 };
        let style = color.stroke_width(width);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style).point_size(3))?
            .label(engine.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    area.present()?;
    Ok(true)
}

fn points(results: &Results, curve: &str, engine: &str) -> Vec<(f64, f64)> {
    let of_curve = |row: &&Row| row.engine == engine && row.curve.as_deref() == Some(curve);
    let mut points: Vec<(f64, f64)> =
        results.rows.iter().filter(of_curve).filter_map(|row| Some((row.at?, row.value))).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points.dedup_by(|a, b| a.0 == b.0);
    points
}
