//! Claims about the data file behind its descriptor and about its creation.

#![allow(unsafe_code, clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Barrier;

use common::{create, is_alone, limit_file_size, names_in, page};
use mapledb_os::{DataFile, FILL_BYTES, MapAdvice, OsError, ReadMap, Seam};

fn reason(error: OsError) -> Option<i32> {
    error.source.raw_os_error()
}

#[test]
fn a_created_file_has_its_bytes_its_blocks_its_mode_and_one_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.maple");
    let fill = |mut file: &fs::File| file.write_all(b"meta");
    let file = DataFile::create_in_place(&path, 0o600, 8 * page(), Seam::unwatched(), fill).unwrap();
    let stat = file.stat().unwrap();
    assert_eq!((stat.len_bytes, stat.links, stat.is_regular), (8 * page(), 1, true));
    assert!(stat.allocated_bytes >= 8 * page(), "{stat:?}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut head = [1; 6];
    assert_eq!(file.read_at(0, &mut head).unwrap(), 6);
    assert_eq!(&head, b"meta\0\0");
    assert_eq!(file.read_at(8 * page() - 2, &mut head).unwrap(), 2);
    assert_eq!(names_in(dir.path()), [path]);
}

#[test]
fn creating_over_anything_is_told_apart_and_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (taken, dangling) = (dir.path().join("taken"), dir.path().join("dangling"));
    fs::write(&taken, b"mine").unwrap();
    symlink(dir.path().join("nowhere"), &dangling).unwrap();
    for path in [&taken, &dangling, &dir.path().join(".")] {
        let refused = DataFile::create_in_place(path, 0o644, page(), Seam::unwatched(), |_| Ok(()));
        assert!(refused.is_err_and(|e| e.is_exists()), "{}", path.display());
    }
    assert_eq!(fs::read(&taken).unwrap(), b"mine");
    assert_eq!(names_in(dir.path()).len(), 2);
}

#[test]
fn of_many_creators_at_once_one_wins_and_the_others_hear_that_it_exists() {
    const CREATORS: u8 = 8;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raced");
    let start = Barrier::new(CREATORS.into());
    let winners: Vec<u8> = std::thread::scope(|scope| {
        let create = |who: u8| {
            start.wait();
            let fill = |mut file: &fs::File| file.write_all(&[who; 100]);
            DataFile::create_in_place(&path, 0o644, page(), Seam::unwatched(), fill).map(|_| who)
        };
        let threads: Vec<_> = (1..=CREATORS).map(|who| scope.spawn(move || create(who))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .filter_map(|outcome| match outcome {
                Ok(who) => Some(who),
                Err(e) => {
                    assert!(e.is_exists(), "{e}");
                    None
                }
            })
            .collect()
    });
    assert_eq!(winners.len(), 1);
    assert_eq!(fs::read(&path).unwrap()[..100], [winners[0]; 100]);
    assert_eq!(names_in(dir.path()), [path]);
}

#[test]
fn nothing_is_left_of_a_creation_that_fails() {
    let dir = tempfile::tempdir().unwrap();
    let fill = |_: &fs::File| Err(io::Error::from_raw_os_error(libc::EIO));
    let failed =
        DataFile::create_in_place(&dir.path().join("a"), 0o644, page(), Seam::unwatched(), fill).unwrap_err();
    assert_eq!(reason(failed), Some(libc::EIO));
    let missing = dir.path().join("no/such/a");
    let failed =
        DataFile::create_in_place(&missing, 0o644, page(), Seam::unwatched(), |_| Ok(())).unwrap_err();
    assert_eq!(reason(failed), Some(libc::ENOENT));
    assert_eq!(names_in(dir.path()), [] as [std::path::PathBuf; 0]);
}

#[test]
fn a_missing_file_a_directory_a_pipe_and_a_loop_are_errors_that_name_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let (missing, pipe, ring) =
        (dir.path().join("missing"), dir.path().join("pipe"), dir.path().join("loop"));
    let c_pipe = std::ffi::CString::new(pipe.to_str().unwrap()).unwrap();
    // SAFETY: the pointer comes from a live `CString`.
    assert_eq!(unsafe { libc::mkfifo(c_pipe.as_ptr(), 0o600) }, 0);
    symlink(&ring, &ring).unwrap();
    let cases = [
        (missing.as_path(), Some(libc::ENOENT)),
        (dir.path(), Some(libc::EISDIR)),
        (pipe.as_path(), None),
        (ring.as_path(), Some(libc::ELOOP)),
    ];
    for (path, why) in cases {
        for open in [DataFile::open_read_write, DataFile::open_read_only] {
            let error = open(path, Seam::unwatched()).unwrap_err();
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
            assert_eq!(reason(error), why, "{}", path.display());
        }
    }
}

#[test]
fn a_symbolic_link_leads_to_the_same_file_under_its_real_path() {
    let dir = tempfile::tempdir().unwrap();
    let (path, link) = (dir.path().join("a"), dir.path().join("b"));
    let file = create(&path, 1);
    symlink(&path, &link).unwrap();
    let again = DataFile::open_read_only(&link, Seam::unwatched()).unwrap();
    assert_eq!((again.id(), again.path()), (file.id(), file.path()));
    assert!(file.is_writable() && !again.is_writable());
    assert!(again.still_at(&link).unwrap());
}

#[test]
fn a_file_that_was_replaced_moved_or_removed_is_no_longer_at_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("a"), dir.path().join("b"));
    let file = create(&path, 1);
    assert!(file.still_at(&path).unwrap());
    fs::rename(&path, &other).unwrap();
    assert!(!file.still_at(&path).unwrap());
    assert!(file.still_at(&other).unwrap());
    create(&path, 1);
    assert!(!file.still_at(&path).unwrap());
    assert!(!file.still_at(&path.join("below")).unwrap());
    fs::remove_file(&other).unwrap();
    assert_eq!(file.stat().unwrap().links, 0);
}

#[test]
fn growth_allocates_keeps_what_is_there_and_never_shrinks() {
    let dir = tempfile::tempdir().unwrap();
    let fill = |mut file: &fs::File| file.write_all(b"kept");
    let path = dir.path().join("a");
    let file = DataFile::create_in_place(&path, 0o644, 2 * page(), Seam::unwatched(), fill).unwrap();
    file.grow(2 * page(), 64 * page()).unwrap();
    file.grow(64 * page(), 3 * page()).unwrap();
    file.sync_data().unwrap();
    let stat = file.stat().unwrap();
    assert_eq!(stat.len_bytes, 64 * page());
    assert!(stat.allocated_bytes >= 64 * page(), "{stat:?}");
    let mut head = [0; 4];
    file.read_at(0, &mut head).unwrap();
    assert_eq!(&head, b"kept");
}

#[test]
fn a_punched_run_has_no_blocks_until_it_is_allocated_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = create(&dir.path().join("a"), 256);
    let full = file.stat().unwrap();
    if !file.punch(64 * page(), 64 * page()).unwrap() {
        return; // nothing to claim where the file system cannot
    }
    let punched = file.stat().unwrap();
    assert_eq!(punched.len_bytes, full.len_bytes);
    assert!(punched.allocated_bytes <= full.allocated_bytes - 64 * page(), "{punched:?} of {full:?}");
    file.allocate(64 * page(), 64 * page()).unwrap();
    assert!(file.stat().unwrap().allocated_bytes >= 256 * page());
    file.truncate(8 * page()).unwrap();
    assert_eq!(file.stat().unwrap().len_bytes, 8 * page());
}

#[test]
fn growth_past_the_size_limit_of_the_process_is_an_error_and_not_a_signal() {
    if !is_alone("growth_past_the_size_limit_of_the_process_is_an_error_and_not_a_signal") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = create(&dir.path().join("a"), 4);
    limit_file_size(8 * page());
    assert_eq!(mapledb_os::file_size_limit(), Some(8 * page()));
    let refused = file.grow(4 * page(), 9 * page()).unwrap_err();
    assert!(refused.is_full(), "{refused}");
    assert_eq!(file.stat().unwrap().len_bytes, 4 * page());
    file.grow(4 * page(), 8 * page()).unwrap();
    let other = dir.path().join("b");
    let refused = DataFile::create_in_place(&other, 0o644, 9 * page(), Seam::unwatched(), |_| Ok(()));
    assert!(refused.is_err_and(|e| e.is_full()));
    assert_eq!(names_in(dir.path()).len(), 1);
}

#[test]
fn growth_past_what_any_file_system_holds_is_full_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = create(&dir.path().join("a"), 4);
    for to in [u64::MAX, i64::MAX as u64] {
        let refused = file.grow(4 * page(), to).unwrap_err();
        assert!(refused.is_full(), "{refused}");
    }
    assert_eq!(file.stat().unwrap().len_bytes, 4 * page());
}

#[test]
fn parts_are_written_one_behind_the_other_across_pieces_and_the_map_shows_them() {
    let dir = tempfile::tempdir().unwrap();
    let piece = FILL_BYTES as u64;
    let file = create(&dir.path().join("a"), 1);
    file.grow(page(), 6 * piece).unwrap();
    let map = ReadMap::map(&file, 8 * piece, MapAdvice::Random).unwrap();
    let body: Vec<u8> = (0..3 * FILL_BYTES).map(|at| (at % 251) as u8).collect();
    // From the middle of a piece to the middle of another, none of the parts at the edge of one; and one that is empty.
    let at = piece + page();
    let table: [(&[u8], &[u8]); 4] =
        [(b"head", b"tail"), (b"", b"t"), (b"h", b""), (&[9; 5000], &[8; 70_000])];
    for (head, tail) in table {
        file.write_parts(at, [head, &body, tail]).unwrap();
        let whole = [head, &body, tail].concat();
        // SAFETY: within the file, to which nobody stores meanwhile.
        let shown = unsafe { map.slice(at, whole.len()) };
        assert!(shown == whole, "{} and {} bytes around", head.len(), tail.len());
    }
    let mut before = [1; 4];
    file.read_at(at - 4, &mut before).unwrap();
    assert_eq!(before, [0; 4]);
    assert!(
        DataFile::open_read_only(file.path(), Seam::unwatched()).unwrap().write_parts(at, [b"no"]).is_err()
    );
}

#[test]
fn the_file_system_and_its_free_space_are_known() {
    let dir = tempfile::tempdir().unwrap();
    let file = create(&dir.path().join("a"), 1);
    assert_ne!(file.filesystem().unwrap().magic(), 0);
    assert!(file.free_space_bytes().is_ok());
    file.sync_all().unwrap();
    file.sync_dir().unwrap();
}
