//! Points in time, as people and machines both read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970 as `2026-11-23T09:28:29Z`.
pub fn rfc3339(unix_ns: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(unix_ns)).to_string()
}

/// How long ago that was, to the second; nothing if it lies ahead.
pub fn since(unix_ns: u64) -> Duration {
    let then = UNIX_EPOCH + Duration::from_nanos(unix_ns);
    let age = SystemTime::now().duration_since(then).unwrap_or_default();
    Duration::from_secs(age.as_secs())
}

/// A duration as `2m 5s`.
pub fn words(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
