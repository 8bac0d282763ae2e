//! Several processes at work on one file, and what must hold of it whatever becomes of them.
//!
//! | module | what it is |
//! |---|---|
//! | [`bank`] | what they do, and the invariant of every snapshot |
//! | [`engine`] | what a run must know of the engine |
//! | [`maple`] | MapleDB as a run sees it, and its transactions as the bank sees them |
//! | `lmdb` | LMDB as a run sees it, and what one of its processes does; behind the feature `lmdb` |
//! | [`status`] | the memory in which each says what it is at, and writers log what they were told |
//! | [`voice`] | how a process says it, and lingers |
//! | [`part`] | what one process does |
//! | [`law`] | the law of process death, by what stands and what writers were told |
//! | [`crew`] | the processes of a run: started, stopped, killed, and held against the law |

pub mod bank;
pub mod crew;
pub mod engine;
pub mod law;
#[cfg(feature = "lmdb")]
pub mod lmdb;
pub mod maple;
pub mod part;
pub mod status;
pub mod voice;
