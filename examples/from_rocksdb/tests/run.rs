//! The column families of a RocksDB are moved, and compared by the program itself.

use std::process::Command;

#[test]
fn column_families_of_rocksdb_are_moved() {
    let ended = Command::new(env!("CARGO_BIN_EXE_from_rocksdb")).output().expect("start");
    let printed = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(printed.contains("8333 entries of 2 column families moved and compared"), "{printed}");
}
