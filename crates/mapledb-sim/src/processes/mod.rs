//! Several processes at work on one file, and what must hold of it whatever becomes of them.
//!
//! | module | what it is |
//! |---|---|
//! | [`bank`] | what they do, and the invariant of every snapshot |
//! | [`maple`] | MapleDB's transactions as the bank sees them |
//! | [`status`] | the memory in which each says what it is at, and writers log what they were told |
//! | [`part`] | what one process does |
//! | [`crew`] | the processes of a run: started, stopped, killed, and held against the law |

pub mod bank;
pub mod crew;
pub mod maple;
pub mod part;
pub mod status;
