//! Planted bugs, by which the harnesses are seen to notice what they are for.
//!
//! They are built in by `--cfg maple_canaries` alone, which is no cargo feature and which no build of the product sets.
//! In such a build the environment variable `MAPLE_CANARY` names the one that is in force; `scripts/canaries` goes through
//! them. In any other, [`planted`] is a constant, and nothing of them is there.
//!
//! The same build [`poisons`] pages where it is asked to.

/// Whether the planted bug of this name is in force.
#[cfg(not(maple_canaries))]
#[inline(always)]
pub const fn planted(_name: &str) -> bool {
    false
}

/// Whether the planted bug of this name is in force.
#[cfg(maple_canaries)]
pub fn planted(name: &str) -> bool {
    static IN_FORCE: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    IN_FORCE.get_or_init(|| std::env::var("MAPLE_CANARY").ok()).as_deref() == Some(name)
}

/// Whether pages are to be stored over as soon as they may be reused, so that whoever still needs one finds out: if the environment
/// has `MAPLE_POISON`.
#[cfg(maple_canaries)]
pub fn poisons() -> bool {
    static IN_FORCE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *IN_FORCE.get_or_init(|| std::env::var_os("MAPLE_POISON").is_some())
}

/// Whether pages are to be stored over as soon as they may be reused.
#[cfg(not(maple_canaries))]
#[inline(always)]
pub const fn poisons() -> bool {
    false
}
