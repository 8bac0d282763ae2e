//! The recording file system, as the kernel and other processes see it. Needs root and `/dev/fuse`.
#![cfg(feature = "fuse")]

use std::process::Command;

use mapledb_sim::fuse::mount::{Janitor, Loop, Mounted, Tree, has_command, needs_fuse, needs_loop, run};
use mapledb_sim::fuse::server::{Fault, JOURNAL, Operation, Recording};
use mapledb_sim::fuse::trace::{Event, Volume};

/// A shell command in the mounted directory: a process of its own, as the server's may not wait for itself.
fn shell(mounted: &Mounted, script: &str) -> Result<String, String> {
    run(Command::new("sh").args(["-ec", script]).current_dir(mounted.path()))
}

fn mounted(dir: &tempfile::TempDir) -> (Recording, Mounted, Janitor) {
    let recording = Recording::new(1, true);
    let mut janitor = Janitor::start().expect("a janitor");
    let mounted = Mounted::new(&recording, &dir.path().join("mnt"), &mut janitor).expect("mount");
    (recording, mounted, janitor)
}

#[test]
fn what_processes_do_is_logged_in_order_and_the_log_makes_the_same_files() {
    if let Err(why) = needs_fuse() {
        return println!("SKIP recording: {why}");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (recording, mounted, _janitor) = mounted(&dir);
    let script = format!(
        "printf abc > a; sync a; echo one >> {JOURNAL}; mv a b; ln b c; sync .; printf d >> b
         echo two >> {JOURNAL}; truncate -s 2 b; fallocate -l 100 b; rm c; cat b; ls"
    );
    assert_eq!(shell(&mounted, &script).expect("runs").replace('\0', ""), format!("abb\n{JOURNAL}\n"));
    assert!(shell(&mounted, "mv --no-clobber none other").is_err());
    let volume = recording.volume();
    let file = volume.find("b").expect("b");
    assert_eq!(volume.files[file as usize].seen().to_bytes()[..3], *b"ab\0");
    assert_eq!(volume.files[file as usize].len_bytes(), 100);
    let trace = recording.take_trace();
    let mut again = Volume::default();
    for (place, event) in trace.iter().enumerate() {
        again.apply(place as u64, event);
    }
    assert_eq!(again.names.last(), volume.names.last());
    assert_eq!(again.files[file as usize].seen().to_bytes(), volume.files[file as usize].seen().to_bytes());
    let at = |wanted: &dyn Fn(&Event) -> bool| trace.iter().position(wanted).expect("is there");
    let one = at(&|event| matches!(event, Event::Line { text } if text == "one\n"));
    let two = at(&|event| matches!(event, Event::Line { text } if text == "two\n"));
    let renamed = at(&|event| matches!(event, Event::Rename { from, .. } if from == "a"));
    assert!(at(&|event| matches!(event, Event::Flushed { .. })) < one && one < renamed && renamed < two);
    let path = mounted.path().to_path_buf();
    drop(mounted);
    assert!(!path.exists(), "it has been unmounted and removed");
}

#[test]
fn a_write_or_a_flush_fails_when_it_is_told_to() {
    if let Err(why) = needs_fuse() {
        return println!("SKIP recording: {why}");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (recording, mounted, _janitor) = mounted(&dir);
    let fault = |operation| Fault { operation, after: 1, errno: libc::EIO, for_good: false, kills: false };
    recording.fail(Some(fault(Operation::Write)));
    assert!(shell(&mounted, "printf 1 > a; printf 2 > b").is_err());
    recording.fail(Some(fault(Operation::Flush)));
    assert!(shell(&mounted, "printf 1 > a; sync a; printf 2 > a; sync a").is_err());
    assert_eq!(recording.faults_met(), 2);
    shell(&mounted, "printf 3 > a; sync a").expect("goes well again");
}

#[test]
fn real_file_systems_live_on_it_and_their_flushes_are_seen() {
    if let Err(why) = needs_loop() {
        return println!("SKIP recording: {why}");
    }
    for (kind, mkfs, mib) in
        [("ext4", "mkfs.ext4", 32), ("xfs", "mkfs.xfs", 300), ("btrfs", "mkfs.btrfs", 128)]
    {
        if let Err(why) = has_command(mkfs) {
            println!("SKIP {kind}: {why}");
            continue;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let (recording, mounted, mut janitor) = mounted(&dir);
        recording.make("disk", &[], mib << 20);
        let device = Loop::new(&mounted.path().join("disk"), 512, &mut janitor).expect("attach");
        run(Command::new(mkfs).arg("-q").arg(device.device())).expect("mkfs");
        let tree = Tree::new(device.device(), &dir.path().join(kind), kind, "", &mut janitor).expect("mount");
        std::fs::write(tree.path().join("file"), "kept").expect("write");
        std::fs::File::open(tree.path().join("file")).expect("open").sync_all().expect("sync");
        let synced = recording.volume();
        tree.unmount().expect("unmount");
        drop((device, mounted));
        // What was synced is there in an image of that moment.
        let image = dir.path().join("image");
        synced.files[0].seen().write_to(&image).expect("write the image");
        let device = Loop::new(&image, 512, &mut janitor).expect("attach");
        let tree =
            Tree::new(device.device(), &dir.path().join(kind), kind, "", &mut janitor).expect("mount again");
        assert_eq!(std::fs::read_to_string(tree.path().join("file")).expect("read"), "kept");
        tree.unmount().expect("unmount");
    }
}
