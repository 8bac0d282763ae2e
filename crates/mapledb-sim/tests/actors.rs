//! Child processes: what they tell is enough to know what the law allows.

use std::path::Path;
use std::process::ExitCode;

use mapledb_sim::actor::{self, Orders, Role};
use mapledb_sim::journal::{Event, Replay};
use mapledb_sim::scratch::Scratch;
use mapledb_sim::verify::law;
use mapledb_sim::workload::Profile;

fn replay(journal: &Path, from: usize, story: &mut Replay) -> usize {
    let text = std::fs::read_to_string(journal).expect("a journal");
    let events: Vec<Event> = text.lines().map(|line| Event::read(line).expect("an event")).collect();
    for event in &events[from..] {
        story.take(event).expect("a story that can be");
    }
    events.len()
}

#[allow(unsafe_code)]
fn open(path: &Path, profile: &Profile) -> mapledb::Env {
    // SAFETY: only MapleDB writes to the test's own file.
    unsafe { actor::options(profile).open_or_create(path) }.expect("open")
}

/// A process goes away without closing, the next goes on where recovery left it: three lives of one file for each seed.
#[test]
fn a_story_told_again_with_the_model_is_what_the_engine_holds() {
    let exe = Path::new(env!("CARGO_BIN_EXE_mapledb-sim"));
    for seed in 1..=6 {
        let dir = Scratch::new().expect("a directory");
        let (path, journal) = (dir.path().join("a.maple"), dir.path().join("journal"));
        let profile = Profile::of(seed);
        let mut story = Replay::new(seed, profile.clone());
        let mut told = 0;
        for life in 0..3 {
            let orders = Orders {
                path: path.clone(),
                journal: journal.clone(),
                seed,
                profile: profile.clone(),
                committed: story.committed().to_vec(),
                first: life * 12,
                end: life * 12 + 12,
                dies: true,
                catches_sigbus: false,
            };
            let status = actor::command(exe, &Role::Workload(orders)).status().expect("start");
            assert!(status.success(), "seed {seed}, life {life}: {status}");
            told = replay(&journal, told, &mut story);
            let env = open(&path, &profile);
            let found = law(&env, story.history(), &story.bounds());
            let (index, txnid) = found.unwrap_or_else(|broken| panic!("seed {seed}, life {life}: {broken}"));
            story.recovered(index, txnid);
            env.close().expect("close");
        }
        assert!(story.history().last() > 0, "seed {seed}: nothing was committed");
    }
}

#[test]
fn a_role_that_is_none_is_refused() {
    let exe = Path::new(env!("CARGO_BIN_EXE_mapledb-sim"));
    let status = std::process::Command::new(exe).env("MAPLE_SIM_ROLE", "{}").status().expect("start");
    assert_eq!(status.code(), Some(2), "{:?}", ExitCode::from(2));
}
