//! Claims about effects that fail or are cut off at the seam.

#![cfg(feature = "seam")]
#![allow(unsafe_code, clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use common::{names_in, page};
use mapledb_os::{Cut, DataFile, Effect, MapAdvice, Observer, ReadMap, Seam, WriteMap};

type Refusal = Box<dyn Fn(&Effect) -> Option<io::Error> + Send + Sync>;

/// Records what passes and refuses what it is told to refuse.
struct Script {
    seen: Mutex<Vec<(Effect, bool)>>,
    refusal: Refusal,
}

impl Script {
    fn refusing(
        refusal: impl Fn(&Effect) -> Option<io::Error> + Send + Sync + 'static,
    ) -> (Arc<Script>, Seam) {
        let script = Arc::new(Script { seen: Mutex::default(), refusal: Box::new(refusal) });
        (script.clone(), Seam::watched(script))
    }

    fn seen(&self) -> Vec<(Effect, bool)> {
        self.seen.lock().unwrap().clone()
    }
}

impl Observer for Script {
    fn before(&self, effect: &Effect) -> io::Result<()> {
        let Some(error) = (self.refusal)(effect) else { return Ok(()) };
        self.seen.lock().unwrap().push((*effect, false));
        Err(error)
    }

    fn after(&self, effect: &Effect, ok: bool) {
        self.seen.lock().unwrap().push((*effect, ok));
    }
}

fn os(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

fn create(path: &std::path::Path, seam: Seam) -> mapledb_os::Result<DataFile> {
    DataFile::create_in_place(path, 0o644, 4 * page(), seam, |mut file| file.write_all(b"meta"))
}

/// A file system without `O_TMPFILE`.
fn no_anonymous(effect: &Effect) -> Option<io::Error> {
    (*effect == Effect::Create { anonymous: true }).then(|| os(libc::EOPNOTSUPP))
}

#[test]
fn a_refused_effect_is_not_performed_and_the_next_one_is() {
    let (script, seam) = Script::refusing(|e| (*e == Effect::Link).then(|| os(libc::EIO)));
    let refused = seam.run(Effect::Link, || -> io::Result<()> { panic!("performed") });
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EIO));
    seam.run(Effect::SyncDir, || Ok(())).unwrap();
    assert_eq!(script.seen(), [(Effect::Link, false), (Effect::SyncDir, true)]);
}

#[test]
fn after_a_cut_nothing_is_performed_through_any_clone() {
    let (script, seam) = Script::refusing(|e| (*e == Effect::Link).then(Cut::error));
    let clone = seam.clone();
    assert!(Cut::is(&seam.run(Effect::Link, || Ok(())).unwrap_err()));
    let later = clone.run(Effect::Unlink, || -> io::Result<()> { panic!("performed") });
    assert!(Cut::is(&later.unwrap_err()));
    assert_eq!(script.seen(), [(Effect::Link, false)]);
}

#[test]
fn creation_syncs_the_bytes_before_the_name_and_the_directory_after_it() {
    let dir = tempfile::tempdir().unwrap();
    for (refusal, name) in [(None, Effect::Link), (Some(no_anonymous), Effect::Rename)] {
        let (script, seam) = Script::refusing(move |e| refusal.and_then(|refuse| refuse(e)));
        create(&dir.path().join(format!("{name:?}")), seam).unwrap();
        let done: Vec<Effect> = script.seen().into_iter().filter(|(_, ok)| *ok).map(|(e, _)| e).collect();
        let tail =
            [Effect::Fill { len: 4 * page() }, Effect::SyncFile { data_only: false }, name, Effect::SyncDir];
        assert_eq!(done[done.len() - 4..], tail);
    }
    assert_eq!(names_in(dir.path()).len(), 2);
}

#[test]
fn creation_works_without_anonymous_files_and_without_exclusive_renames() {
    let dir = tempfile::tempdir().unwrap();
    let (_, seam) = Script::refusing(|e| match e {
        Effect::Rename => Some(os(libc::EINVAL)),
        e => no_anonymous(e),
    });
    let path = dir.path().join("a");
    let file = create(&path, seam.clone()).unwrap();
    assert_eq!(file.stat().unwrap().links, 1);
    assert_eq!(&fs::read(&path).unwrap()[..4], b"meta");
    assert!(create(&path, seam).is_err_and(|e| e.is_exists()));
    assert_eq!(names_in(dir.path()), [path]);
}

#[test]
fn a_name_taken_in_the_last_moment_is_not_replaced() {
    for anonymous in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let rival = path.clone();
        let (_, seam) = Script::refusing(move |e| {
            if matches!(e, Effect::Link | Effect::Rename) {
                fs::write(&rival, b"rival").unwrap();
            }
            if anonymous { None } else { no_anonymous(e) }
        });
        assert!(create(&path, seam).is_err_and(|e| e.is_exists()));
        assert_eq!(fs::read(&path).unwrap(), b"rival");
        assert_eq!(names_in(dir.path()), [path]);
    }
}

#[test]
fn nothing_is_left_whichever_step_before_the_name_fails() {
    let steps = [
        Effect::Create { anonymous: false },
        Effect::Grow { offset: 0, len: 4 * page() },
        Effect::Fill { len: 4 * page() },
        Effect::SyncFile { data_only: false },
        Effect::Rename,
    ];
    for step in steps {
        let dir = tempfile::tempdir().unwrap();
        let (_, seam) =
            Script::refusing(move |e| (*e == step).then(|| os(libc::EIO)).or_else(|| no_anonymous(e)));
        let error = create(&dir.path().join("a"), seam).unwrap_err();
        assert_eq!(error.source.raw_os_error(), Some(libc::EIO), "{step:?}: {error}");
        assert_eq!(names_in(dir.path()).len(), 0, "{step:?}");
    }
}

#[test]
fn a_cut_creation_leaves_nothing_or_a_whole_file_at_the_path() {
    for step in [Effect::Fill { len: 4 * page() }, Effect::Link, Effect::SyncDir] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let (_, seam) = Script::refusing(move |e| (*e == step).then(Cut::error));
        assert!(create(&path, seam).is_err_and(|e| e.is_cut()), "{step:?}");
        assert_eq!(path.exists(), step == Effect::SyncDir, "{step:?}");
        if path.exists() {
            let bytes = fs::read(&path).unwrap();
            assert_eq!((bytes.len() as u64, &bytes[..4]), (4 * page(), b"meta".as_slice()));
        }
    }
}

#[test]
fn without_fallocate_growth_writes_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let (script, seam) = Script::refusing(|e| matches!(e, Effect::Grow { .. }).then(|| os(libc::EOPNOTSUPP)));
    let file = create(&dir.path().join("a"), seam).unwrap();
    file.grow(4 * page(), 9 * page() + 5).unwrap();
    let stat = file.stat().unwrap();
    assert_eq!(stat.len_bytes, 9 * page() + 5);
    file.sync_all().unwrap(); // blocks of written pages may be given only here
    assert!(file.stat().unwrap().allocated_bytes >= 9 * page());
    assert!(script.seen().contains(&(Effect::WriteZeros { offset: 4 * page(), len: 5 * page() + 5 }, true)));
    let mut head = [0; 4];
    file.read_at(0, &mut head).unwrap();
    assert_eq!(&head, b"meta");
}

#[test]
fn growth_that_fails_half_way_gives_back_what_it_got() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let half = path.clone();
    let (script, seam) = Script::refusing(move |e| match e {
        // What a full ext4 does: some of it is there when it says no.
        Effect::Grow { offset, len } if *offset > 0 => {
            fs::OpenOptions::new().write(true).open(&half).unwrap().set_len(offset + len / 2).unwrap();
            Some(os(libc::ENOSPC))
        }
        _ => None,
    });
    let file = create(&path, seam).unwrap();
    let error = file.grow(4 * page(), 64 * page()).unwrap_err();
    assert!(error.is_full(), "{error}");
    assert_eq!(file.stat().unwrap().len_bytes, 4 * page());
    assert_eq!(script.seen().last(), Some(&(Effect::Truncate { len: 4 * page() }, true)));
}

#[test]
fn a_file_system_without_holes_says_so_and_is_not_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (_, seam) = Script::refusing(|e| matches!(e, Effect::Punch { .. }).then(|| os(libc::EOPNOTSUPP)));
    let file = create(&dir.path().join("a"), seam).unwrap();
    assert!(!file.punch(0, page()).unwrap());
}

#[test]
fn a_kernel_without_populate_is_remembered_and_a_fault_is_told() {
    let dir = tempfile::tempdir().unwrap();
    for (code, populates) in [(libc::EINVAL, false), (libc::EFAULT, true)] {
        let (script, seam) =
            Script::refusing(move |e| matches!(e, Effect::Populate { .. }).then(|| os(code)));
        let file = create(&dir.path().join(code.to_string()), seam).unwrap();
        let map = WriteMap::map(&file, 1 << 30).unwrap();
        for _ in 0..2 {
            assert_eq!(map.populate(0, page() as usize).is_err(), populates);
        }
        assert_eq!(map.populates(), populates);
        let tries = script.seen().iter().filter(|(e, _)| matches!(e, Effect::Populate { .. })).count();
        assert_eq!(tries, if populates { 2 } else { 1 });
    }
}

#[test]
fn a_refused_reserve_is_halved_down_to_the_file_and_then_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let granted = 4 * page();
    for (floor, outcome) in [(1 << 33, Some(1 << 33)), (granted, Some(granted)), (0, None)] {
        let (_, seam) = Script::refusing(move |e| match e {
            Effect::Map { len, .. } if *len > floor => Some(os(libc::ENOMEM)),
            _ => None,
        });
        let file = create(&dir.path().join(floor.to_string()), seam).unwrap();
        let map = ReadMap::map(&file, 1 << 40, MapAdvice::Random);
        assert_eq!(map.map(|map| map.len_bytes()).ok(), outcome);
    }
}

#[test]
fn a_refused_store_stores_nothing_and_a_refused_sync_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (script, seam) = Script::refusing(|e| match e {
        Effect::StoreMeta { slot: 1 } | Effect::Sync { .. } => Some(os(libc::EIO)),
        Effect::StorePages { .. } | Effect::Redirty { .. } => Some(Cut::error()),
        _ => None,
    });
    let file = create(&dir.path().join("a"), seam).unwrap();
    let map = WriteMap::map(&file, 1 << 30).unwrap();
    // SAFETY: within the file; nobody else has it.
    unsafe { map.store_meta(0, 0, b"META") }.unwrap();
    // SAFETY: as above.
    assert!(unsafe { map.store_meta(1, 0, b"lost") }.is_err());
    assert_eq!(map.sync(0, 4).unwrap_err().source.raw_os_error(), Some(libc::EIO));
    // SAFETY: as above.
    assert!(unsafe { map.store_pages(0, 4, |page| page.fill(9)) }.unwrap_err().is_cut());
    // SAFETY: as above.
    assert!(unsafe { map.redirty(0, 4) }.unwrap_err().is_cut());
    // SAFETY: nobody stores any more.
    assert_eq!(unsafe { map.slice(0, 4) }, b"META");
    assert_eq!(script.seen().last(), Some(&(Effect::StorePages { offset: 0, len: 4 }, false)));
}
