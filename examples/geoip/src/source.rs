//! Where the ranges come from: files the user names; else the data that Tor ships, installed or fetched; else a
//! generated sample, and then it says so.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use indicatif::HumanCount;
use serde::{Deserialize, Serialize};

use crate::address::Ranges;
use crate::parse;

pub mod package;
pub mod sample;

/// Where Debian's `tor-geoipdb` puts its data.
pub const INSTALLED: &str = "/usr/share/tor";

/// What the user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Real data if there is some, else the sample.
    Any,
    /// Real data or nothing.
    Real,
    Sample,
    Files(Vec<PathBuf>),
}

impl Wanted {
    /// Reads the words of the command line. A file that is called `real` or `sample` is named `./real`.
    pub fn of_words(words: &[String]) -> Wanted {
        match words {
            [] => Wanted::Any,
            [word] if word == "real" => Wanted::Real,
            [word] if word == "sample" => Wanted::Sample,
            files => Wanted::Files(files.iter().map(PathBuf::from).collect()),
        }
    }
}

/// What was chosen. It travels to every process, and each reads or generates the ranges for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    Files { title: String, paths: Vec<PathBuf> },
    Sample { why: String },
}

impl Source {
    fn directory(title: String, directory: &Path) -> Source {
        Source::Files { title, paths: files_in(directory).to_vec() }
    }

    /// Reads or generates all ranges.
    ///
    /// # Errors
    /// A file that cannot be read, a line that is no range, ranges that overlap, no range at all.
    pub fn ranges(&self) -> Result<Ranges> {
        let Source::Files { paths, .. } = self else {
            return Ok(sample::ranges(sample::SEED, sample::COUNTS));
        };
        let mut families = [vec![], vec![]];
        for path in paths {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            parse::parse(&text, &mut families).with_context(|| format!("cannot use {}", path.display()))?;
        }
        let ranges = Ranges::new(families).with_context(|| format!("cannot use {self}"))?;
        if ranges.counts() == [0, 0] {
            bail!("{self}: not one range in it");
        }
        Ok(ranges)
    }

    /// The first line of the demo.
    pub fn headline(&self, ranges: &Ranges) -> String {
        let [v4, v6] = ranges.counts().map(HumanCount);
        format!("{self}: {v4} IPv4 and {v6} IPv6 ranges")
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Files { title, .. } => write!(f, "source: {title}"),
            Source::Sample { why } => write!(f, "SAMPLE DATA ({why})"),
        }
    }
}

/// Chooses, in the order of this file's head. `fetch` gets the package and answers with the directory its data
/// lies in, or with the reason why it could not.
///
/// # Errors
/// Real data was asked for and there is none.
pub fn choose(
    wanted: Wanted,
    installed: &Path,
    fetch: impl FnOnce() -> Result<PathBuf, String>,
) -> Result<Source> {
    match wanted {
        Wanted::Files(paths) => {
            let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            Ok(Source::Files { title: names.join(", "), paths })
        }
        Wanted::Sample => Ok(Source::Sample { why: "as asked".to_owned() }),
        Wanted::Any => Ok(real(installed, fetch).unwrap_or_else(|why| Source::Sample { why })),
        Wanted::Real => match real(installed, fetch) {
            Ok(source) => Ok(source),
            Err(why) => bail!("no real data: {why}; name files of the same form, or ask for `sample`"),
        },
    }
}

fn real(installed: &Path, fetch: impl FnOnce() -> Result<PathBuf, String>) -> Result<Source, String> {
    if has_files(installed) {
        return Ok(Source::directory(format!("tor-geoipdb in {}", installed.display()), installed));
    }
    match fetch() {
        Ok(directory) => {
            Ok(Source::directory(format!("tor-geoipdb fetched into {}", directory.display()), &directory))
        }
        Err(why) => Err(format!("tor-geoipdb is not installed, and fetching it failed: {why}")),
    }
}

fn files_in(directory: &Path) -> [PathBuf; 2] {
    ["geoip", "geoip6"].map(|name| directory.join(name))
}

/// Whether the data of both families lies there.
pub fn has_files(directory: &Path) -> bool {
    files_in(directory).iter().all(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched() -> Result<PathBuf, String> {
        Ok(PathBuf::from("fetched"))
    }

    fn no_network() -> Result<PathBuf, String> {
        Err("no network".to_owned())
    }

    fn directory_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (name, text) in files {
            fs::write(directory.path().join(name), text).expect("it is writable");
        }
        directory
    }

    #[test]
    fn words_are_a_wish_or_files() {
        let wanted =
            |words: &[&str]| Wanted::of_words(&words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>());
        assert_eq!(wanted(&[]), Wanted::Any);
        assert_eq!(wanted(&["real"]), Wanted::Real);
        assert_eq!(wanted(&["sample"]), Wanted::Sample);
        assert_eq!(wanted(&["./real"]), Wanted::Files(vec!["./real".into()]));
        assert_eq!(wanted(&["real", "b"]), Wanted::Files(vec!["real".into(), "b".into()]));
    }

    #[test]
    fn installed_data_goes_before_fetched_and_fetched_before_the_sample() {
        let none = Path::new("does-not-exist");
        let full = directory_with(&[("geoip", "1,2,DE\n"), ("geoip6", "::1,::2,DE\n")]);
        let half = directory_with(&[("geoip", "1,2,DE\n")]);

        let source = choose(Wanted::Any, full.path(), || panic!("it is installed")).expect("installed");
        assert!(source.to_string().starts_with("source: tor-geoipdb in "), "{source}");
        assert_eq!(source.ranges().expect("it is readable").counts(), [1, 1]);
        for installed in [none, half.path()] {
            let source = choose(Wanted::Any, installed, fetched).expect("fetched");
            assert_eq!(source.to_string(), "source: tor-geoipdb fetched into fetched");
        }
        let source = choose(Wanted::Any, none, no_network).expect("the sample needs nothing");
        assert!(source.to_string().starts_with("SAMPLE DATA (tor-geoipdb is not installed"), "{source}");
    }

    #[test]
    fn real_data_or_an_error_that_says_why() {
        let error = choose(Wanted::Real, Path::new("does-not-exist"), no_network).expect_err("no data");
        assert!(error.to_string().contains("no network"), "{error}");
    }

    #[test]
    fn named_files_are_read_or_refused_by_name_without_falling_back() {
        let directory =
            directory_with(&[("mixed", "1,2,DE\n::1,::2,FR\n"), ("bad", "1,2,DE\nx\n"), ("none", "#\n")]);
        let ranges = |names: &[&str]| {
            let paths = names.iter().map(|name| directory.path().join(name)).collect();
            choose(Wanted::Files(paths), Path::new(INSTALLED), || panic!("files were named"))
                .expect("named files are taken")
                .ranges()
        };
        assert_eq!(ranges(&["mixed"]).expect("both families in one file").counts(), [1, 1]);
        let cases = [
            (&["missing"][..], "cannot read"),
            (&["bad"], "line 2: expected three fields"),
            (&["none"], "not one range"),
            (&["mixed", "mixed"], "a range starts at 0.0.0.1, inside"),
        ];
        for (names, expected) in cases {
            let error = format!("{:#}", ranges(names).expect_err(expected));
            assert!(error.contains(expected), "{error}");
        }
    }
}
