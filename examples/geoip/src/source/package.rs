//! Gets Debian's `tor-geoipdb` by name, without root and without touching the system's own package lists.
//!
//! The lists that are there are asked first, then a private list with short time-outs and no retries: on a fresh
//! container the system has none. Everything lands under one directory of the build, and what was unpacked once
//! is used again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::has_files;

const PACKAGE: &str = "tor-geoipdb";

/// Where distributions keep the list of their own archives.
const SOURCES: [&str; 3] = [
    "/etc/apt/sources.list.d/debian.sources",
    "/etc/apt/sources.list.d/ubuntu.sources",
    "/etc/apt/sources.list",
];

/// Components the package is not in: Debian has it in main, Ubuntu in universe.
const OTHER_COMPONENTS: [&str; 5] = ["contrib", "non-free", "non-free-firmware", "restricted", "multiverse"];

/// The lists are 9 MB on Debian; a mirror that is slower than this is treated as none.
const TIME_MAX: Duration = Duration::from_secs(45);

/// Fetches and unpacks the package under `directory` and answers where its data lies.
///
/// # Errors
/// One sentence: which command failed and its own reason.
pub fn fetch(directory: &Path) -> Result<PathBuf, String> {
    let unpacked = directory.join("unpacked");
    let data = unpacked.join("usr/share/tor");
    if !has_files(&data) {
        create(directory)?;
        // apt runs in a directory of its own and is told of ours.
        let directory = &fs::canonicalize(directory).map_err(|error| error.to_string())?;
        let archive = download(directory)?;
        unpack(&archive, directory)?;
    }
    if !has_files(&data) {
        return Err(format!("the package has no geoip and geoip6 in {}", data.display()));
    }
    Ok(data)
}

fn download(directory: &Path) -> Result<PathBuf, String> {
    let downloads = emptied(&directory.join("download"))?;
    let cache = emptied(&directory.join("cache"))?;
    create(&cache.join("archives/partial"))?;
    let download = |apt: &Apt| apt.run(&["download", PACKAGE], &downloads);

    let system = Apt { options: vec![option("Dir::Cache", &cache)] };
    if download(&system).is_err() {
        let private = private_lists(directory, system)?;
        // A hook of the system's may fail an update that has fetched every list, so the download decides.
        let update = private.run(&["update"], &downloads);
        download(&private).map_err(|why| update.err().unwrap_or(why))?;
    }
    let entries = fs::read_dir(&downloads).map_err(|error| format!("{}: {error}", downloads.display()))?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or_else(|| format!("apt-get download {PACKAGE} left no package behind"))
}

fn private_lists(directory: &Path, system: Apt) -> Result<Apt, String> {
    let state = directory.join("state");
    create(&state.join("lists/partial"))?;
    let path = SOURCES
        .map(Path::new)
        .into_iter()
        .find(|path| fs::read_to_string(path).is_ok_and(|text| !text.trim().is_empty()))
        .ok_or("no list of the distribution's archives in /etc/apt")?;
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    // apt tells the two forms apart by the name's ending.
    let extension = path.extension().unwrap_or_default();
    let sources = directory.join("private").with_extension(extension);
    fs::write(&sources, without_other_components(&text))
        .map_err(|error| format!("{}: {error}", sources.display()))?;

    let mut options = system.options;
    options.push(option("Dir::State", &state));
    options.push("Dir::State::status=/var/lib/dpkg/status".to_owned());
    options.push(option("Dir::Etc::SourceList", &sources));
    options.push("Dir::Etc::SourceParts=/dev/null".to_owned());
    Ok(Apt { options })
}

/// Drops the components the package is not in, and source packages; both forms of a sources list.
fn without_other_components(sources: &str) -> String {
    let mut kept = String::new();
    for line in sources.lines().filter(|line| !line.starts_with("deb-src")) {
        if line.starts_with("deb ") || line.starts_with("Components:") {
            let words = line.split_whitespace().filter(|word| !OTHER_COMPONENTS.contains(word));
            kept.push_str(&words.collect::<Vec<_>>().join(" "));
        } else if line.starts_with("Types:") {
            kept.push_str("Types: deb");
        } else {
            kept.push_str(line);
        }
        kept.push('\n');
    }
    kept
}

/// `apt-get` with a few options of ours.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn run(&self, words: &[&str], directory: &Path) -> Result<(), String> {
        let mut command = Command::new("apt-get");
        for option in self.options.iter().map(String::as_str).chain([
            "Acquire::Retries=0",
            "Acquire::http::Timeout=3",
            "Acquire::https::Timeout=3",
            "Acquire::Languages=none",
            // A list that cannot be fetched is an error with its reason, not a warning.
            "APT::Update::Error-Mode=any",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            "Acquire::IndexTargets::deb::CNF::DefaultEnabled=false",
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
            // Root would drop to a user who may not be able to reach the directory.
            "APT::Sandbox::User=root",
        ]) {
            command.args(["-o", option]);
        }
        let log = directory.with_extension("log");
        run(command.arg("-q").args(words).env("LC_ALL", "C").current_dir(directory), &log)
    }
}

fn unpack(archive: &Path, directory: &Path) -> Result<(), String> {
    // Under another name first: a half-unpacked package must not be found by the next run.
    let partial = emptied(&directory.join("partial"))?;
    run(Command::new("dpkg-deb").arg("-x").args([archive, &partial]), &directory.join("unpack.log"))?;
    let unpacked = emptied(&directory.join("unpacked"))?;
    fs::rename(&partial, &unpacked).map_err(|error| format!("{}: {error}", unpacked.display()))
}

/// Runs to the end or to the time limit; on failure answers with the command's own reason.
fn run(command: &mut Command, log: &Path) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let told = |error: std::io::Error| format!("{name}: {error}");
    let stderr = File::create(log).map_err(told)?;
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().map_err(told)?;
    let deadline = Instant::now() + TIME_MAX;
    while Instant::now() < deadline {
        match child.try_wait().map_err(told)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => {
                let said = fs::read_to_string(log).unwrap_or_default();
                return Err(format!("{name}: {}", reason(&said).unwrap_or(&status.to_string())));
            }
            None => thread::sleep(Duration::from_millis(10)),
        }
    }
    child.kill().and_then(|()| child.wait()).map_err(told)?;
    Err(format!("{name}: not done after {} s", TIME_MAX.as_secs()))
}

/// The first error that apt or dpkg names; the last line said if none is marked.
fn reason(said: &str) -> Option<&str> {
    let marked = said.lines().find_map(|line| line.strip_prefix("E: "));
    marked.or_else(|| said.lines().rfind(|line| !line.is_empty()))
}

fn option(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}

fn create(directory: &Path) -> Result<(), String> {
    fs::create_dir_all(directory).map_err(|error| format!("cannot create {}: {error}", directory.display()))
}

/// Creates `directory` anew, without what it held.
fn emptied(directory: &Path) -> Result<PathBuf, String> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .map_err(|error| format!("cannot empty {}: {error}", directory.display()))?;
    }
    create(directory)?;
    Ok(directory.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_components_and_source_packages_are_dropped_from_both_forms() {
        let deb822 = "Types: deb deb-src\nURIs: http://deb.example/debian\nSuites: stable\n\
                      Components: main contrib non-free-firmware\nSigned-By: /k.gpg\n";
        let kept = "Types: deb\nURIs: http://deb.example/debian\nSuites: stable\n\
                    Components: main\nSigned-By: /k.gpg\n";
        assert_eq!(without_other_components(deb822), kept);
        let lines = "# own\ndeb [signed-by=/k.gpg] http://a.example/u noble main restricted universe\n\
                     deb-src http://a.example/u noble main\n";
        let kept = "# own\ndeb [signed-by=/k.gpg] http://a.example/u noble main universe\n";
        assert_eq!(without_other_components(lines), kept);
    }

    #[test]
    fn a_failed_command_tells_its_own_reason() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let log = directory.path().join("log");
        let shell = |script: &str| run(Command::new("sh").args(["-c", script]), &log);
        assert_eq!(shell("exit 0"), Ok(()));
        assert_eq!(shell("echo W: x >&2; echo E: one >&2; echo E: two >&2; exit 1"), Err("sh: one".into()));
        assert_eq!(shell("echo broken >&2; exit 1"), Err("sh: broken".into()));
        assert_eq!(shell("exit 3"), Err("sh: exit status: 3".into()));
        let missing = run(&mut Command::new("no-such-command"), &log).expect_err("it does not exist");
        assert!(missing.starts_with("no-such-command: "), "{missing}");
    }

    #[test]
    fn what_was_unpacked_once_is_used_again() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data = directory.path().join("unpacked/usr/share/tor");
        create(&data).expect("it is writable");
        for name in ["geoip", "geoip6"] {
            fs::write(data.join(name), "").expect("it is writable");
        }
        assert_eq!(fetch(directory.path()), Ok(data));
    }
}
