//! Snapshots and their readers, the writer's lock, and the memory that all processes share: the lock file.
//!
//! A process attaches ([`attach()`]) and becomes a member: it holds the byte of its process block, which the
//! kernel gives up for it however it dies. In its blocks lie the slots in which its readers pin snapshots. A writer
//! holds the writer word, appends a head record to the ring, publishes it, and scans the pins before it reuses a
//! page.
//!
//! The file's contents are input: whatever they hold leads to a number or an error, never to a panic (I14).

// Under loom only what is ordered by atomics is compiled, and not all of that is modelled.
#![cfg_attr(loom, allow(dead_code, unused_imports))]

#[cfg(not(loom))]
mod attach;
#[cfg(not(loom))]
mod attached;
mod blocks;
#[cfg(not(loom))]
mod detach;
mod durable;
mod error;
#[cfg(not(loom))]
mod files;
mod heads;
mod hint;
pub mod layout;
#[cfg(not(loom))]
mod left_behind;
#[cfg(all(test, loom))]
mod loom_tests;
mod member;
mod memory;
mod parked;
mod pins;
mod queue;
mod readers;
mod shared;
mod sync_lock;
mod tally;
mod wait;
mod writer_lock;

#[cfg(not(loom))]
pub use attach::{Attach, First, Mode, Start, Target, attach, lock_path};
#[cfg(not(loom))]
pub use attached::Attached;
#[cfg(not(loom))]
pub(crate) use attached::PoisonNote;
#[cfg(not(loom))]
pub use detach::Detaching;
pub use durable::Durable;
pub use error::{AttachError, MvccError, Result};
pub use heads::{Head, HeadRecord, NewHead};
#[cfg(not(loom))]
pub(crate) use hint::KeptHead;
#[cfg(not(loom))]
pub use left_behind::LeftBehind;
pub(crate) use parked::Return;
pub use pins::ReaderInfo;
pub use readers::Pin;
pub(crate) use readers::Place;
pub use shared::{Counter, Counters, Stage};
pub use sync_lock::{SyncGuard, Turn};
pub use tally::{ProcessTally, Tally};
pub use wait::Wait;
pub use writer_lock::WriterGuard;
