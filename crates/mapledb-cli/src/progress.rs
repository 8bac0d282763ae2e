//! How far a long verb has come, on standard error: nothing unless that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar for work of known length, counted in `unit`.
pub fn bar(quiet: bool, total: u64, unit: &'static str) -> ProgressBar {
    let template = format!("{{bar:40}} {{percent:>3}} % of {{human_len}} {unit}, {{eta}} left");
    drawn(quiet, Some(total), &template)
}

/// A count for work of unknown length.
pub fn counter(quiet: bool, unit: &'static str) -> ProgressBar {
    drawn(quiet, None, &format!("{{spinner}} {{human_pos}} {unit} in {{elapsed}}"))
}

fn drawn(quiet: bool, total: Option<u64>, template: &str) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let style = ProgressStyle::with_template(template).expect("the templates above are well-formed");
    let bar = ProgressBar::with_draw_target(total, target).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
