//! Times over threads, drawn: a panel for each state, a line for each way.

use std::path::Path;

use plotters::prelude::*;

use super::order::Order;
use super::row::Row;
use super::state::State;
use super::ways::Kind;
use crate::records::Unit;

/// Draws uniform reads of a record into an SVG file at `to`.
pub fn draw(rows: &[Row], to: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let states: Vec<State> = [State::Warm, State::Fresh, State::Cold, State::Limited]
        .into_iter()
        .filter(|&state| shown(rows, state).next().is_some())
        .collect();
    let area = SVGBackend::new(to, (340 * states.len() as u32, 320)).into_drawing_area();
    area.fill(&WHITE)?;
    for (panel, &state) in area.split_evenly((1, states.len())).iter().zip(&states) {
        draw_panel(panel, state, &shown(rows, state).collect::<Vec<_>>())?;
    }
    Ok(area.present()?)
}

fn shown(rows: &[Row], state: State) -> impl Iterator<Item = &Row> {
    rows.iter().filter(move |row| {
        let scenario = row.scenario;
        scenario.state == state && scenario.order == Order::Uniform && scenario.unit == Unit::Record
    })
}

type Panel<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw_panel(panel: &Panel<'_>, state: State, rows: &[&Row]) -> Result<(), Box<dyn std::error::Error>> {
    let threads = rows.iter().map(|row| row.scenario.threads as f64).fold(1.0, f64::max);
    let times = || rows.iter().map(|row| row.nanoseconds.median);
    let (low, high) = (times().fold(f64::MAX, f64::min), times().fold(0.0, f64::max));
    let mut chart = ChartBuilder::on(panel)
        .caption(state.name(), ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(32)
        .y_label_area_size(64)
        .build_cartesian_2d(0.9..threads + 0.1, (low / 1.5..high * 4.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("threads")
        .y_desc("ns for one record")
        .x_labels(threads as usize)
        .x_label_formatter(&|threads| format!("{threads:.0}"))
        .y_label_formatter(&|nanoseconds| crate::document::figure(*nanoseconds))
        .draw()?;
    let mut ways: Vec<(Kind, &str)> = rows.iter().map(|row| (row.kind, row.way.as_str())).collect();
    ways.dedup();
    for (index, &(kind, way)) in distinct(&ways).iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let own = rows.iter().filter(|row| row.kind == kind);
        let line: Vec<(f64, f64)> =
            own.map(|row| (row.scenario.threads as f64, row.nanoseconds.median)).collect();
        chart
            .draw_series(LineSeries::new(line.iter().copied(), color.stroke_width(2)))?
            .label(way)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], color.stroke_width(2)));
        chart.draw_series(line.into_iter().map(|at| Circle::new(at, 3, color.filled())))?;
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .position(SeriesLabelPosition::UpperRight)
        .draw()?;
    Ok(())
}

fn distinct<'a>(ways: &[(Kind, &'a str)]) -> Vec<(Kind, &'a str)> {
    let mut distinct = Vec::new();
    for &way in ways {
        if !distinct.contains(&way) {
            distinct.push(way);
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::row;
    use super::*;

    #[test]
    fn every_way_and_state_is_drawn() {
        let mut rows = Vec::new();
        for state in [State::Warm, State::Cold] {
            for threads in [1, 2, 4] {
                rows.push(row(state, threads, Kind::Map, 100.0 * threads as f64));
                rows.push(row(state, threads, Kind::Pread, 1000.0));
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plot.svg");
        draw(&rows, &path).unwrap();
        let svg = std::fs::read_to_string(path).unwrap();
        assert!(["warm", "cold", "map", "pread"].iter().all(|word| svg.contains(word)));
    }
}
