//! What `maple dump` does where something is at the output's place already.
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
