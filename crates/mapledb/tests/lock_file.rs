//! The lock file inside one process: modes, coming and going, many readers, and hostile bytes.
#![cfg(not(loom))]

mod common;

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use common::*;
use mapledb::mvcc::*;
use mapledb_format::lockfile;
use mapledb_os::Seam;
use mapledb_os::ofd;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

#[test]
fn two_hundred_readers_grow_the_table_and_all_are_seen() {
    let data = Data::new();
    let attached = data.attached();
    let pins: Vec<_> = (0..200)
        .map(|_| {
            let pin = attached.pin().expect("pin").0;
            commit(&attached);
            pin
        })
        .collect();
    assert_eq!(attached.pinned().expect("scan"), (1..=200).collect::<Vec<_>>());
    assert_eq!(attached.readers().expect("readers").len(), 200);
    assert_eq!(attached.reads_begun().expect("count"), 200);
    assert_eq!(
        std::fs::metadata(data.lock()).expect("metadata").len(),
        (lockfile::BLOCKS_AT + 4 * lockfile::BLOCK_BYTES) as u64
    );
    drop(pins);
    assert_eq!(attached.pinned().expect("scan"), []);
}

#[test]
fn a_pin_holds_until_its_last_clone_is_dropped_in_any_thread() {
    let data = Data::new();
    let attached = data.attached();
    let (pin, head) = attached.pin().expect("pin");
    assert_eq!(head.txnid(), 1);
    let twin = pin.clone();
    drop(pin);
    commit(&attached);
    assert_eq!(attached.pinned().expect("scan"), [1]);
    std::thread::spawn(move || drop(twin)).join().expect("no panic");
    assert_eq!(attached.pinned().expect("scan"), []);
}

#[test]
fn closing_is_refused_while_there_are_readers_or_a_writer() {
    let data = Data::new();
    let attached = data.attached();
    let wait = Duration::from_secs(1);
    let pin = attached.pin().expect("pin");
    let guard = lock(&attached);
    let refused = attached.begin_detach(wait).expect_err("refused");
    assert!(matches!(refused, AttachError::Mvcc(MvccError::StillInUse(2))), "{refused}");
    drop((pin, guard));
    let detaching = attached.begin_detach(wait).expect("detach");
    assert!(detaching.is_last());
    detaching.mark_clean();
    drop(detaching);
    assert!(matches!(attached.pin(), Err(MvccError::Detached)));
    let left = try_attach(&data.path, Mode::Shared).expect("attach").1.expect("first");
    assert!(left.is_clean);
}

#[test]
fn the_last_to_go_is_told_so() {
    let data = Data::new();
    let (a, b) = (data.attached(), data.attached());
    let wait = Duration::from_secs(1);
    let detaching = a.begin_detach(wait).expect("detach");
    assert!(!detaching.is_last());
    detaching.mark_clean();
    drop(detaching);
    assert_eq!(commit(&b), 2);
    assert!(b.begin_detach(wait).expect("detach").is_last());
    let left = try_attach(&data.path, Mode::Shared).expect("attach").1.expect("first");
    assert!(!left.is_clean, "nobody who was last marked it");
    assert_eq!(left.last_txnid, 2);
}

#[test]
fn shared_exclusive_and_frozen_use_keep_each_other_out() {
    let data = Data::new();
    let attach = |mode| try_attach(&data.path, mode);
    let shared = attach(Mode::Shared).expect("attach").0;
    assert!(matches!(attach(Mode::Exclusive), Err(AttachError::HeldShared(_))));
    assert!(matches!(attach(Mode::Frozen), Err(AttachError::HeldShared(_))));
    drop(shared);

    let exclusive = attach(Mode::Exclusive).expect("attach").0;
    commit(&exclusive);
    assert!(matches!(attach(Mode::Shared), Err(AttachError::HeldExclusively(_))));
    assert!(matches!(attach(Mode::Exclusive), Err(AttachError::HeldShared(_))));
    assert!(matches!(attach(Mode::Frozen), Err(AttachError::HeldShared(_))));
    drop(exclusive);

    let frozen = attach(Mode::Frozen).expect("attach").0;
    let also = attach(Mode::Frozen).expect("attach").0;
    assert!(matches!(frozen.lock_writer(Wait::Try), Err(MvccError::ReadOnly)));
    assert!(matches!(attach(Mode::Shared), Err(AttachError::HeldFrozen(_))));
    assert!(matches!(attach(Mode::Exclusive), Err(AttachError::HeldFrozen(_))));
    drop((frozen, also));
    attach(Mode::Shared).expect("attach");
}

#[test]
fn exclusive_use_learns_what_shared_use_left_behind() {
    let data = Data::new();
    let attached = data.attached();
    commit(&attached);
    let detaching = attached.begin_detach(Duration::from_secs(1)).expect("detach");
    detaching.mark_clean();
    drop(detaching);
    let (exclusive, left) = try_attach(&data.path, Mode::Exclusive).expect("attach");
    let left = left.expect("first");
    assert!(left.is_clean && left.published.is_some_and(|record| record.head.txnid() == 2));
    commit(&exclusive);
    drop(exclusive);
    let left = try_attach(&data.path, Mode::Shared).expect("attach").1.expect("first");
    assert!(
        !left.is_clean && left.published.is_some_and(|record| record.head.txnid() == 3),
        "and the other way round"
    );
}

#[test]
fn another_layout_version_is_refused_while_others_are_attached_and_replaced_after() {
    let data = Data::new();
    let attached = data.attached();
    let lock = File::options().write(true).open(data.lock()).expect("open");
    lock.write_all_at(&9u32.to_le_bytes(), 8).expect("write");
    let refused = try_attach(&data.path, Mode::Shared).expect_err("refused");
    assert!(
        matches!(refused, AttachError::OtherVersion { found: 9, ours: lockfile::LOCK_VERSION }),
        "{refused}"
    );
    drop(attached);
    let left = try_attach(&data.path, Mode::Shared).expect("attach").1.expect("first");
    assert!(!left.is_bound);
}

#[test]
fn poison_is_seen_by_all_until_the_last_has_gone() {
    let data = Data::new();
    let (a, b) = (data.attached(), data.attached());
    a.poison().expect("poison");
    assert!(b.is_poisoned().expect("look"));
    drop(a);
    assert!(data.attached().is_poisoned().expect("look"), "one is there yet");
    drop(b);
    assert!(!data.attached().is_poisoned().expect("look"));
}

#[test]
fn unpublished_heads_are_the_writers_alone_and_can_be_taken_back() {
    let data = Data::new();
    let attached = data.attached();
    let guard = lock(&attached);
    let seq = attached.append_head(&guard, &new_head(2)).expect("append");
    assert_eq!(attached.head().expect("head").head.txnid(), 2);
    assert_eq!(attached.pin().expect("pin").0.txnid(), 1);
    let sync = attached.lock_sync().expect("nobody syncs");
    attached.take_back(&guard, &sync, seq).expect("it is the newest");
    assert_eq!(attached.head().expect("head").head.txnid(), 1);
    assert!(attached.publish_up_to(seq).is_err(), "what was taken back is not published");
    assert!(attached.take_back(&guard, &sync, seq - 1).is_err(), "what is published is not taken back");
}

/// Every call on a live environment whose lock file others scribble on is an answer or an error.
#[test]
fn hostile_bytes_are_errors() {
    let seed = 7;
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    for round in 0..60 {
        let data = Data::new();
        let attached = data.attached();
        let lock = File::options().write(true).open(data.lock()).expect("open");
        let mut noise = vec![0; 64 << (round % 8)];
        for _ in 0..4 {
            random.fill_bytes(&mut noise);
            let at = u64::from(random.next_u32()) % (36864 - noise.len() as u64).max(1);
            lock.write_all_at(&noise, at).expect("write");
            let _ = attached.pin();
            let _ = (attached.head(), attached.published(), attached.published_txnid());
            let _ = (attached.pinned(), attached.readers(), attached.reads_begun(), attached.reap());
            let _ = attached.wait_newer(1, Wait::Try);
            if let Ok(Some(guard)) = attached.lock_writer(Wait::Try) {
                let _ = attached.next_txnid(&guard);
                let _ = attached.publish(&guard, &new_head(5));
            }
            let _ = try_attach(&data.path, Mode::Shared).map(|_| ());
        }
        drop(attached);
        let _ = try_attach(&data.path, Mode::Shared).expect("the first to come makes it whole");
    }
}

#[test]
fn a_lock_file_of_noise_is_written_anew() {
    for len in [0, 1, 4096, 36864, 100_000] {
        let data = Data::new();
        let mut noise = vec![0; len];
        SmallRng::seed_from_u64(len as u64).fill_bytes(&mut noise);
        std::fs::write(data.lock(), &noise).expect("write");
        let (attached, left) = try_attach(&data.path, Mode::Shared).expect("attach");
        let left = left.expect("first");
        assert_eq!(left.doubt.is_some(), len > 0, "commits that a lost lock file knew of: {left:?}");
        assert_eq!(LeftBehind { doubt: None, ..left }, LeftBehind::default());
        assert_eq!(attached.pin().expect("pin").0.txnid(), 1);
        assert_eq!(commit(&attached), 2);
    }
}

#[test]
fn what_stands_in_the_way_of_attaching_is_told() {
    let data = Data::new();
    let attach_as = |mode, is_writable, wait| {
        let file = File::open(&data.path).expect("open");
        let seam = Seam::unwatched();
        let target =
            Target { data: file.as_fd(), path: &data.path, identity: IDENTITY, is_writable, seam: &seam };
        attach(&target, mode, wait).map(|_| ()).expect_err("refused")
    };
    let refused = attach_as(Mode::Exclusive, false, Duration::ZERO);
    assert!(matches!(refused, AttachError::NotWritable(_)), "{refused}");
    let attached = data.attached();
    // As a process does that is attaching or going.
    let lock = File::options().read(true).write(true).open(data.lock()).expect("open");
    assert!(
        ofd::try_lock(lock.as_fd(), &data.lock(), lockfile::ATTACH_BYTE, ofd::Kind::Exclusive).expect("lock")
    );
    let refused = attach_as(Mode::Shared, false, Duration::from_millis(20));
    assert!(matches!(refused, AttachError::Busy { .. }), "{refused}");
    assert!(refused.to_string().ends_with("try again"), "{refused}");
    drop((attached, lock));
}

#[test]
fn when_the_files_cannot_be_looked_at_the_system_says_why() {
    let data = Data::new();
    let attached = data.attached();
    let moved = data.dir.path().with_extension("moved");
    std::fs::rename(data.dir.path(), &moved).expect("rename");
    std::fs::write(data.dir.path(), "no directory").expect("write");
    let refused = attached.lock_writer(Wait::Try).expect_err("refused");
    std::fs::remove_file(data.dir.path()).expect("remove");
    std::fs::rename(&moved, data.dir.path()).expect("rename");
    assert!(matches!(refused, MvccError::Os(_)), "{refused}");
    assert!(refused.to_string().ends_with("a part of it is no directory"), "{refused}");
    assert_eq!(commit(&attached), 2);
}

#[test]
fn readers_without_room_are_refused_and_leave_the_others() {
    let data = Data::new();
    let attached = try_attach(&data.path, Mode::Draft).expect("attach").0;
    let mut pins = Vec::new();
    let refused = loop {
        match attached.pin() {
            Ok((pin, _)) => pins.push(pin),
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, MvccError::TooManyBlocks(_)), "{refused}");
    assert!(pins.len() > 60_000, "{}", pins.len());
    pins.pop();
    attached.pin().expect("one has gone");
    assert_eq!(commit(&attached), 2);
}

#[test]
fn every_refusal_says_what_to_do() {
    let data = Data::new();
    std::fs::create_dir(data.lock()).expect("mkdir");
    let refused = try_attach(&data.path, Mode::Shared).expect_err("refused").to_string();
    assert!(refused.contains("move it away"), "{refused}");
}
