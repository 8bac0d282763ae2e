//! The real binary on a recording file system (T2), on real file systems over it (T3), and under its faults (T7).
//!
//! | module | what it is |
//! |---|---|
//! | [`platter`] | what a disk with a volatile cache may hold of a file |
//! | [`trace`] | everything that reached the file system, in one order |
//! | [`server`] | the file system, as the kernel talks to it |
//! | [`mount`] | mounts and loop devices, which go whatever happens |
//! | [`story`] | what was said by those at work, and what the law makes of it |
//! | [`cuts`] | crash images of a trace, verified by several threads |
//! | [`writeback`] | a process that makes the kernel write half-built pages |
//! | [`crew`] | the processes at work |
//! | [`recorded`] | the harness T2 |
//! | [`block`] | the harness T3 |
//! | [`witness`] | a process that says what it sees of a fault of another's |
//! | [`faults`] | the harness T7 |

pub mod block;
pub mod crew;
pub mod cuts;
pub mod faults;
pub mod mount;
pub mod platter;
pub mod recorded;
pub mod server;
pub mod story;
pub mod trace;
pub mod witness;
pub mod writeback;
