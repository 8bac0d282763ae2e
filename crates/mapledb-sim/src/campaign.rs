//! Several harnesses, one after the other: with progress, a table, a report, and a reproducer where one fails.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::harness::{About, Ask, Failure, Harness, STOP, Tally};
use crate::report::{Report, Reproducer, Row};

/// What a campaign is to do.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The seed of every harness in it.
    pub seed: u64,
    /// The directory it keeps to. Each harness has one of its own in there, which goes when nothing failed.
    pub dir: PathBuf,
    /// The program that children are started from.
    pub exe: PathBuf,
    /// Whether to show progress on standard error.
    pub shows_progress: bool,
}

impl Campaign {
    /// Runs one harness for so many units or so long, and adds its row to the report. A harness that cannot run here
    /// has a row that says why. Answers whether to go on.
    pub fn run(&self, harness: &'static Harness, budget: u64, time: Duration, report: &mut Report) -> bool {
        if STOP.load(Ordering::Relaxed) {
            return false;
        }
        if let Err(why) = (harness.needs)() {
            report.rows.push(Row::skipped(harness, format!("{}: {why}", harness.name)));
            return true;
        }
        let began = Instant::now();
        let answer = self.one(harness, budget, began + time, None);
        let (tally, failure) = match answer {
            Ok((tally, answer)) => (tally, answer.err()),
            Err(error) => {
                let what = format!("its directory cannot be made: {error}");
                let failure = Failure::of_harness(self.seed, what);
                (Tally::default(), Some(Failure { harness: harness.name.to_string(), ..failure }))
            }
        };
        // Whoever asked for an end has sent a signal, and children may have died of it: nothing can be said.
        let failure = failure.filter(|_| !STOP.load(Ordering::Relaxed));
        let is_broken = failure.as_ref().is_some_and(|failure| failure.about == About::Engine);
        report.rows.push(Row::new(harness, budget, &tally, began.elapsed(), is_broken));
        report.failure = failure.or(report.failure.take());
        report.failure.is_none() && !STOP.load(Ordering::Relaxed)
    }

    /// Does a failure's case again.
    ///
    /// # Errors
    /// What it was about is not known here, or cannot run here.
    pub fn replay(&self, failure: &Failure) -> Result<Result<(), Failure>, String> {
        let harness = Harness::named(&failure.harness)
            .ok_or_else(|| format!("there is no harness {:?}", failure.harness))?;
        (harness.needs)()?;
        let replayed = Campaign { seed: failure.seed, ..self.clone() };
        let end = Instant::now() + Duration::from_secs(3600);
        // Where the seed is all there is, the run is done again that met it.
        let (case, budget) = match &failure.case {
            serde_json::Value::Null => (None, harness.crash),
            case => (Some(case.clone()), 1),
        };
        let (_, answer) = replayed.one(harness, budget, end, case).map_err(|error| error.to_string())?;
        match answer {
            Err(failure) if failure.about == About::Harness => Err(failure.what),
            answer => Ok(answer),
        }
    }

    fn one(
        &self,
        harness: &'static Harness,
        budget: u64,
        end: Instant,
        case: Option<serde_json::Value>,
    ) -> std::io::Result<(Tally, Result<(), Failure>)> {
        let dir = self.dir.join(harness.name);
        std::fs::create_dir_all(&dir)?;
        let ask = Ask { seed: self.seed, budget, end, dir: dir.clone(), exe: self.exe.clone(), case };
        let mut tally = Tally::default();
        let progress = tally.progress();
        let (over, ends) = mpsc::channel::<()>();
        let answer = std::thread::scope(|scope| {
            if self.shows_progress {
                scope.spawn(move || show(harness, budget, end, &progress, &ends));
            }
            let answer = harness.go(&ask, &mut tally);
            drop(over);
            answer
        });
        if answer.is_ok() {
            std::fs::remove_dir_all(&dir)?;
        }
        Ok((tally, answer))
    }
}

/// Shows how far a harness is until `ends` is closed.
fn show(
    harness: &Harness,
    budget: u64,
    end: Instant,
    progress: &std::sync::atomic::AtomicU64,
    ends: &mpsc::Receiver<()>,
) {
    let bar = indicatif::ProgressBar::no_length();
    let style = indicatif::ProgressStyle::with_template("{prefix:10} {pos} {msg} {elapsed}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_prefix(harness.name);
    let of = if budget == u64::MAX { String::new() } else { format!("of {budget} ") };
    while matches!(ends.recv_timeout(Duration::from_millis(200)), Err(mpsc::RecvTimeoutError::Timeout)) {
        let left = end.saturating_duration_since(Instant::now()).as_secs();
        bar.set_message(format!("{of}{}, at most {left} s more;", harness.unit));
        bar.set_position(progress.load(Ordering::Relaxed));
    }
    bar.finish_and_clear();
}

/// Writes what replays a failure into a directory; answers where.
///
/// # Errors
/// The file cannot be written.
pub fn write_reproducer(failure: &Failure, dir: &Path) -> std::io::Result<PathBuf> {
    let path = dir.join(format!("failure-{}-{}.json", failure.harness, failure.seed));
    Reproducer::write(failure, &path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn fails(ask: &Ask, tally: &mut Tally) -> Result<(), Failure> {
        tally.done(3);
        match &ask.case {
            Some(case) if case == "mended" => Ok(()),
            _ => Err(Failure::new(ask.seed + 3, "third".into(), "a page was lost")),
        }
    }

    fn panics(_: &Ask, _: &mut Tally) -> Result<(), Failure> {
        panic!("out of order")
    }

    const FAILS: Harness = Harness {
        id: "T0",
        name: "fails",
        unit: "tries",
        what: "always fails",
        needs: || Ok(()),
        room_bytes: 0,
        run: fails,
        smoke: 1,
        crash: 1,
    };
    static FAILING: Harness = FAILS;
    static PANICKING: Harness = Harness { name: "panics", run: panics, ..FAILS };
    static ROOMY: Harness = Harness { room_bytes: u64::MAX, ..FAILS };
    static ABSENT: Harness = Harness { name: "absent", needs: || Err("no such device".to_string()), ..FAILS };

    fn campaign(dir: &Scratch) -> (Campaign, Report) {
        let exe = PathBuf::from("/proc/self/exe");
        let campaign = Campaign { seed: 5, dir: dir.path().to_path_buf(), exe, shows_progress: false };
        let report = Report::new(dir.path(), 5, Default::default());
        (campaign, report)
    }

    #[test]
    fn a_failure_ends_a_campaign_and_leaves_what_replays_it() {
        let dir = Scratch::new().expect("a directory");
        let (campaign, mut report) = campaign(&dir);
        assert!(!campaign.run(&FAILING, 1, Duration::from_secs(1), &mut report));
        assert_eq!((report.rows[0].violations, report.rows[0].done), (1, 3));
        let failure = report.failure.expect("a failure");
        assert_eq!((failure.harness.as_str(), failure.seed), ("fails", 8));
        let told = failure.to_string();
        assert!(told.contains("a page was lost") && told.contains("--seed 8 --case '\"third\"'"), "{told}");
        let found = write_reproducer(&failure, dir.path()).expect("written");
        let found = Reproducer::read(&found).expect("read");
        assert_eq!(found.failure, failure);
    }

    #[test]
    fn a_panic_is_a_failure_and_a_missing_need_is_a_skip() {
        let dir = Scratch::new().expect("a directory");
        let (campaign, mut report) = campaign(&dir);
        assert!(campaign.run(&ABSENT, 1, Duration::from_secs(1), &mut report));
        assert_eq!(report.rows[0].skipped, ["absent: no such device"]);
        assert!(!campaign.run(&PANICKING, 1, Duration::from_secs(1), &mut report));
        assert!(report.failure.expect("a failure").what.contains("out of order"));
    }

    #[test]
    fn a_harness_without_room_has_failed_and_broken_no_law() {
        let dir = Scratch::new().expect("a directory");
        let (campaign, mut report) = campaign(&dir);
        assert!(!campaign.run(&ROOMY, 1, Duration::from_secs(1), &mut report));
        assert_eq!((report.rows[0].violations, report.rows[0].done), (0, 0));
        let failure = report.failure.expect("a failure");
        assert_eq!(failure.about, About::Harness);
        assert!(failure.what.contains("MiB are needed"), "{failure}");
    }
}
