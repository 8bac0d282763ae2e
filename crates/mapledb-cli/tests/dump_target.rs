//! What verbs that write a file do where something is at its place already.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Read;
use std::os::unix::fs::{FileTypeExt, symlink};

use common::{Place, end};

#[test]
fn a_dump_goes_into_a_pipe_and_never_takes_its_place() {
    let place = Place::with_a_database();
    end(place.command("mkfifo").arg("pipe"));
    for force in ["", " --force"] {
        let child = place.maple_command(&format!("dump a.maple -o pipe{force}")).spawn().unwrap();
        let mut text = String::new();
        std::fs::File::open(place.path("pipe")).unwrap().read_to_string(&mut text).unwrap();
        assert!(child.wait_with_output().unwrap().status.success());
        assert!(text.contains("\"key\":\"k\""), "{text}");
        assert!(place.path("pipe").symlink_metadata().unwrap().file_type().is_fifo(), "it is a pipe still");
    }
}

#[test]
fn a_forced_dump_replaces_what_a_link_leads_to_and_not_the_link() {
    let place = Place::with_a_database();
    std::fs::write(place.path("old"), "old").unwrap();
    symlink("old", place.path("link")).unwrap();
    assert_eq!(place.fails(4, "dump a.maple -o link"), "maple: link exists: --force replaces it\n");
    place.ok("dump a.maple -o link --force");
    assert!(place.path("link").symlink_metadata().unwrap().is_symlink());
    assert!(std::fs::read_to_string(place.path("old")).unwrap().contains("\"key\":\"k\""));
}

#[test]
fn no_verb_writes_over_the_database_it_reads_or_its_lock_file() {
    let place = Place::with_a_database();
    symlink("a.maple", place.path("link")).unwrap();
    std::fs::hard_link(place.path("a.maple"), place.path("twin")).unwrap();
    for source in ["a.maple", "link"] {
        for to in ["a.maple", "./a.maple", "link", "twin", "a.maple-lock"] {
            for force in ["", " --force"] {
                let dumped = place.fails(4, &format!("dump {source} -o {to}{force}"));
                assert!(dumped.contains("is never written over"), "{dumped}");
                let drawn = place.fails(4, &format!("space {source} --out {to}{force}"));
                assert!(drawn.contains("is never written over"), "{drawn}");
            }
            for verb in ["copy", "copy --compact", "backup", "rescue"] {
                place.fails(4, &format!("{verb} {source} {to}"));
            }
        }
    }
    assert_eq!(place.ok("get a.maple k"), "v\n");
    place.check("a.maple");
    let files = place.files();
    assert_eq!(files, ["a.maple", "a.maple-lock", "link", "twin"], "no draft is left");
}

#[test]
fn a_drawing_replaces_a_file_only_if_that_is_said() {
    let place = Place::with_a_database();
    std::fs::write(place.path("old.svg"), "old").unwrap();
    assert_eq!(place.fails(4, "space a.maple --out old.svg"), "maple: old.svg exists: --force replaces it\n");
    assert_eq!(std::fs::read_to_string(place.path("old.svg")).unwrap(), "old");
    place.ok("space a.maple --out old.svg --force");
    assert!(std::fs::read_to_string(place.path("old.svg")).unwrap().starts_with("<svg"));
    place.fails(2, "space a.maple --force");
    end(place.command("mkdir").arg("dir"));
    assert!(place.fails(4, "space a.maple --out dir").contains("dir is a directory: name a file in it"));
    place.check("a.maple");
}
