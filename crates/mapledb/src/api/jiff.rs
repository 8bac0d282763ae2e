//! Times of `jiff`: numbers in the order in which a clock would be read, each as an integer key.
//!
//! | type | bytes |
//! |---|---|
//! | `Timestamp` | seconds since 1970, rounded down, as an `i64`; the nanoseconds above them as a `u32` |
//! | `SignedDuration` | nanoseconds as an `i128` |
//! | `civil::Date` | year as an `i16`, month, day |
//! | `civil::Time` | hour, minute, second, nanoseconds as a `u32` |
//! | `civil::DateTime` | the date, then the time |
//!
//! A `Zoned` is no part: two may be equal and differ in their zone. Store the timestamp and the zone's name.

use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, Timestamp};

use super::part::{Place, fixed, join, key_parts};

const NANOS_PER_SECOND: u32 = 1_000_000_000;

fixed!(
    Timestamp,
    "timestamp",
    12,
    |time| {
        let per_second = i128::from(NANOS_PER_SECOND);
        let (seconds, nanos) = (time.as_nanosecond().div_euclid(per_second), time.as_nanosecond().rem_euclid(per_second));
        join((seconds as i64 ^ i64::MIN).to_be_bytes(), (nanos as u32).to_be_bytes())
    },
    |bytes| {
        let mut rest = &bytes[..];
        let (seconds, nanos) = (i64::take(&mut rest, Place::Inner)?, u32::take(&mut rest, Place::Inner)?);
        let since_zero = i128::from(seconds) * i128::from(NANOS_PER_SECOND) + i128::from(nanos);
        (nanos < NANOS_PER_SECOND).then(|| Timestamp::from_nanosecond(since_zero).ok())?
    }
);

fixed!(SignedDuration, "signed-duration", 16, |time| (time.as_nanos() ^ i128::MIN).to_be_bytes(), |bytes| {
    let nanos = i128::from_be_bytes(bytes) ^ i128::MIN;
    let per_second = i128::from(NANOS_PER_SECOND);
    let seconds = i64::try_from(nanos / per_second).ok()?;
    Some(SignedDuration::new(seconds, (nanos % per_second) as i32))
});

fixed!(
    Date,
    "date",
    4,
    |date| {
        let [high, low] = (date.year() ^ i16::MIN).to_be_bytes();
        [high, low, date.month() as u8, date.day() as u8]
    },
    |[high, low, month, day]| {
        let year = i16::from_be_bytes([high, low]) ^ i16::MIN;
        Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
    }
);

fixed!(
    Time,
    "time",
    7,
    |time| {
        let [a, b, c, d] = (time.subsec_nanosecond() as u32).to_be_bytes();
        [time.hour() as u8, time.minute() as u8, time.second() as u8, a, b, c, d]
    },
    |[hour, minute, second, a, b, c, d]| {
        // A second of 60 is none that the type has: it would be read as 59.
        let [hour, minute, second] = [(hour, 23), (minute, 59), (second, 59)]
            .map(|(number, max)| i8::try_from(number).ok().filter(|number| *number <= max));
        let nanos = i32::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
        Time::new(hour?, minute?, second?, nanos).ok()
    }
);

fixed!(
    DateTime,
    "datetime",
    11,
    |time| {
        let mut bytes = Vec::with_capacity(11);
        time.date().append(&mut bytes, Place::Inner);
        time.time().append(&mut bytes, Place::Last);
        bytes.try_into().expect("four bytes and seven")
    },
    |bytes| {
        let mut rest = &bytes[..];
        let (date, time) = (Date::take(&mut rest, Place::Inner)?, Time::take(&mut rest, Place::Last)?);
        Some(DateTime::from_parts(date, time))
    }
);

key_parts!(Timestamp, SignedDuration, Date, Time, DateTime);
