//! Crash images, faults and kills for MapleDB.
//!
//! The law that everything here checks: *what is recovered is a prefix of commit order; it contains every commit that
//! was acknowledged as durable and nothing of a commit that had not reached its commit point; after process death
//! without an operating-system crash it contains every acknowledged commit, relaxed ones too.*
//!
//! | module | what it is |
//! |---|---|
//! | [`model`] | what the database must hold: the state after each commit, in order |
//! | [`workload`] | random transactions, on the engine and on the model at once |
//! | [`order`] | the orders of keys, for both |
//! | [`disk`] | what the disk may hold at a moment: every content of every block since its last sync |
//! | [`recorder`] | the observer that keeps the disk up to date and notes crash points |
//! | [`image`] | the files after a crash, as one choice of what the disk may hold |
//! | [`verify`] | an opened environment against the law |
//! | [`journal`] | what a child process did, and what the law makes of it |
//! | [`actor`] | child processes and their roles |
//! | [`harness`] | the table of harnesses, and what they have in common |
//! | [`campaign`] | several harnesses, one after the other |
//! | [`report`] | what a run prints and writes |
//! | [`processes`] | several processes at work on one file |
//! | [`crash`] | the harness of crash images (T1) |
//! | [`step`] | the harness of single instructions (T4) |
//! | [`kill`] | the harness of killed processes (T5) |
//! | [`baseline`] | LMDB under the same harness, to compare with (B5) |
//! | [`recovery_time`] | how long a recovery takes, by the size of the file |
//! | [`full`] | the harness of full disks (T8) |
//! | [`errand`] | a short life of a file that meets an error of the system |
//! | [`syscalls`] | the harness of system calls and effects that fail (T6) |
//! | [`soak`] | the harness of many processes and little memory (T13) |
//! | [`cgroup`] | control groups, for that |
//! | [`hostile`] | the harness of every flipped bit, cut length and lost sector of small files (T9) |
//! | [`damage`] | the same at random, of larger files of all kinds (T9) |
//!
//! Everything random derives from one seed, so the seed alone replays a run.

pub mod actor;
pub mod baseline;
pub mod campaign;
pub mod cgroup;
pub mod crash;
pub mod damage;
pub mod disk;
pub mod errand;
pub mod full;
#[cfg(feature = "fuse")]
pub mod fuse;
pub mod harness;
pub mod hostile;
pub mod image;
pub mod journal;
pub mod kill;
pub mod model;
pub mod order;
pub mod processes;
pub mod recorder;
pub mod recovery_time;
pub mod report;
pub mod scratch;
pub mod soak;
pub mod step;
pub mod sys;
pub mod syscalls;
pub mod verify;
pub mod workload;
