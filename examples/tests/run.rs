//! Every example does what it says: it is run as its head tells the reader to, and looks at its own results.

use std::process::Command;

/// Runs a program; answers what it printed.
fn run(program: &str, arguments: &[&str]) -> String {
    let ended = Command::new(program).args(arguments).output().expect("start");
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{program} ended with {}: {errors}", ended.status);
    String::from_utf8(ended.stdout).expect("text")
}

#[test]
fn a_time_series_is_kept_summed_up_and_forgotten() {
    let printed = run(env!("CARGO_BIN_EXE_time_series"), &["5000"]);
    assert!(printed.contains("20000 readings stored"), "{printed}");
    assert!(printed.contains("1440 readings of its last day"), "{printed}");
    assert!(printed.contains("336 hourly means kept"), "{printed}");
}

#[test]
fn embeddings_are_compared_in_place_by_all_threads() {
    let printed = run(env!("CARGO_BIN_EXE_embeddings"), &["2000"]);
    assert!(printed.contains("1.000  document 1000"), "{printed}");
}

#[test]
fn a_queue_loses_no_job_when_a_worker_is_killed() {
    let printed = run(env!("CARGO_BIN_EXE_job_queue"), &["30"]);
    assert!(printed.contains("killed worker"), "{printed}");
    assert!(printed.contains("30 jobs done, each once"), "{printed}");
}

#[test]
fn tables_of_redb_are_moved_with_their_types() {
    let printed = run(env!("CARGO_BIN_EXE_from_redb"), &[]);
    assert!(printed.contains("3000 entries of 3 tables moved and compared"), "{printed}");
    assert!(printed.contains("scratch: not listed in this program, left out"), "{printed}");
}

#[test]
fn a_search_finds_what_has_all_its_words() {
    let printed = run(env!("CARGO_BIN_EXE_postings"), &["3000"]);
    assert!(printed.contains("100 documents have all of: even third tenth"), "{printed}");
    assert!(printed.contains("of the word even: 1500 documents by bulk, 1500 by count"), "{printed}");
}
