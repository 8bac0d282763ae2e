//! LMDB under the harness of killed processes: it runs, it can fail, and without the feature it says so.

use std::process::Command;

#[cfg(not(feature = "lmdb"))]
#[test]
fn without_the_feature_the_baseline_says_what_is_missing() {
    let mut sim = Command::new(env!("CARGO_BIN_EXE_mapledb-sim"));
    let ended = sim.args(["run", "kill-lmdb", "--budget", "1", "--quiet"]).output().expect("start");
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(said.contains("SKIP kill-lmdb") && said.contains("--features lmdb"), "{said}");
}

#[test]
fn a_campaign_leaves_baselines_out_and_the_list_has_them_last() {
    let ended = Command::new(env!("CARGO_BIN_EXE_mapledb-sim")).arg("list").output().expect("start");
    let list = String::from_utf8_lossy(&ended.stdout);
    // By this letter scripts/crash knows what it is to run.
    let others: Vec<_> = list.lines().skip_while(|line| line.starts_with('T')).collect();
    assert!(matches!(others[..], [last] if last.starts_with("B5 ") && last.contains("kill-lmdb")), "{list}");
}

#[cfg(feature = "lmdb")]
mod lmdb {
    use std::sync::atomic::Ordering;
    use std::time::{Duration, Instant};

    use mapledb_sim::harness::{Ask, Harness, Tally};
    use mapledb_sim::processes::bank::Size;
    use mapledb_sim::processes::crew::Crew;
    use mapledb_sim::processes::engine::Engine;
    use mapledb_sim::processes::lmdb::Lmdb;
    use mapledb_sim::processes::part::Way;
    use mapledb_sim::processes::status::{Outcome, Word};
    use mapledb_sim::scratch::Scratch;

    const EXE: &str = env!("CARGO_BIN_EXE_mapledb-sim");

    fn ask(dir: &Scratch, budget: u64) -> Ask {
        let end = Instant::now() + Duration::from_secs(120);
        Ask { seed: 1, budget, end, dir: dir.path().to_path_buf(), exe: EXE.into(), case: None }
    }

    #[test]
    fn lmdb_keeps_the_law_while_its_processes_die() {
        let dir = Scratch::new().expect("a directory");
        let mut tally = Tally::default();
        let harness = Harness::named("kill-lmdb").expect("it has a name");
        harness.go(&ask(&dir, 40), &mut tally).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(tally.units(), 40);
        assert!(tally.counts()["commits"] > 0, "{:?}", tally.counts());
    }

    fn crew(is_locked: bool, dir: &Scratch, readers: usize) -> Crew {
        let way = Way {
            size: Size { accounts: 200, value_max: 200, transfers_max: 20, ballast_max: 20_000 },
            page_size: 4096,
            two_syncs: false,
            relaxed_percent: 0,
            relaxed_millis: 5,
            pieces_max: 4,
            hold_millis: 60,
            reopen_one_in: 1000,
        };
        let engine: &'static dyn Engine =
            if is_locked { &Lmdb { is_locked: true } } else { &Lmdb { is_locked: false } };
        let mut crew = Crew::new(engine, EXE.as_ref(), dir.path(), 1, way, 1, readers).expect("a crew");
        crew.start_missing().expect("start");
        crew
    }

    /// Without the lock file the writer does not see the readers, and reuses pages under them.
    #[test]
    fn a_snapshot_that_changes_is_caught() {
        let dir = Scratch::new().expect("a directory");
        let mut crew = crew(false, &dir, 6);
        let end = Instant::now() + Duration::from_secs(60);
        let broken = loop {
            assert!(Instant::now() < end, "nobody has noticed");
            match crew.look_after() {
                Ok(()) => std::thread::sleep(Duration::from_millis(1)),
                Err(broken) => break broken,
            }
        };
        println!("{broken}");
        assert!(broken.contains(": reader "), "{broken}");
    }

    #[test]
    fn an_acknowledged_commit_that_was_not_made_is_caught() {
        let dir = Scratch::new().expect("a directory");
        let mut crew = crew(true, &dir, 2);
        while crew.status.word(0, Word::Logged).load(Ordering::SeqCst) < 20 {
            crew.look_after().expect("all goes well");
            std::thread::sleep(Duration::from_millis(1));
        }
        crew.kill_all(|_| ()).expect("kill");
        let commits = crew.verify().expect("the law holds");
        assert!(commits > 0);
        let entry = crew.status.append(0, 1 << 40, commits + 100);
        crew.status.settle(0, entry, Outcome::Durable);
        let broken = crew.verify().expect_err("a commit is lost");
        assert!(broken.contains("was acknowledged and is lost"), "{broken}");
    }
}
