//! Every effect MapleDB has on the operating system, and every `unsafe` that needs one: files, maps, locks,
//! shared memory. Nothing above this floor makes a system call.
//!
//! Linux, 64-bit only.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64", target_endian = "little")))]
compile_error!("MapleDB runs on 64-bit little-endian Linux (x86-64 and aarch64) only");

mod anon;
mod calls;
mod canary;
pub mod combine;
mod create;
mod error;
mod file;
mod filesystem;
pub mod fork;
pub mod futex;
mod image;
mod limits;
pub mod lock_file;
mod map;
pub mod ofd;
pub mod process;
mod reserve;
mod seam;
pub mod shared;
pub mod sigbus;
pub mod smaps;
pub mod sync;
mod write_map;

pub use anon::AnonMap;
pub use calls::{drop_cached, punch};
#[doc(hidden)]
pub use canary::{planted, poisons};
pub use create::NamedDraft;
pub use error::{OsError, Result, WantOfRoom, advice};
pub use file::{Cached, DataFile, FILL_BYTES, FileId, FileStat};
pub use filesystem::FileSystem;
pub use image::ImageDraft;
pub use limits::{
    KernelVersion, RESERVE_BYTES, address_space_limit, file_size_limit, free_space_bytes, kernel_version,
    page_size, reserve_wish_bytes,
};
pub use map::{MapAdvice, ReadMap};
pub use reserve::prefetch;
#[cfg(feature = "seam")]
pub use seam::{Cut, Observer};
pub use seam::{Effect, Seam};
pub use write_map::WriteMap;
