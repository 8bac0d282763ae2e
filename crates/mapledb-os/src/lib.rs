//! Every effect MapleDB has on the operating system, and every `unsafe` that needs one: files, maps, locks,
//! shared memory. Nothing above this floor makes a system call.
//!
//! Linux, 64-bit only.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64", target_endian = "little")))]
compile_error!("MapleDB runs on 64-bit little-endian Linux (x86-64 and aarch64) only");

mod error;
pub mod fork;
pub mod futex;
pub mod lock_file;
pub mod ofd;
pub mod process;
pub mod shared;
pub mod sync;

pub use error::{OsError, Result};
