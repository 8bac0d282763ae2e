//! Types whose values are written as one piece of text: addresses of the internet, durations, times, UUIDs.
//!
//! | type | bytes | text |
//! |---|---|---|
//! | `ipv4` | its 4 bytes | `192.0.2.1` |
//! | `ipv6` | its 16 bytes | `2001:db8::1` |
//! | `ip` | 4 or 6, and the address of that version | either |
//! | `duration` | seconds as a `u64`, nanoseconds as a `u32` | `1h 30m 5s 20ms` |
//! | `signed-duration` | nanoseconds as an `i128`, the sign bit turned | the same, `-` before what is less than nothing |
//! | `timestamp` | seconds since 1970 as an `i64`, nanoseconds as a `u32` | `2026-11-27T21:40:00Z`; read with any offset |
//! | `date` | year as an `i16`, month, day | `2026-11-27` |
//! | `time` | hour, minute, second, nanoseconds as a `u32` | `21:40:00.5` |
//! | `datetime` | the date, then the time | `2026-11-27T21:40:00` |
//! | `uuid` | its 16 bytes | `0198c1f4-5b6a-7c3d-8e9f-a0b1c2d3e4f5` |

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use mapledb::Part;
use uuid::Uuid;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// One of these types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// An address of version 4.
    Ipv4,
    /// An address of version 6.
    Ipv6,
    /// An address of either version.
    Ip,
    /// A time from one moment to another.
    Duration,
    /// The same, or less than nothing.
    SignedDuration,
    /// A moment, wherever on earth.
    Timestamp,
    /// A day of the calendar.
    Date,
    /// What a clock shows.
    Time,
    /// What a calendar and a clock show, wherever they hang.
    DateTime,
    /// A UUID.
    Uuid,
}

impl Word {
    /// All of them.
    pub const ALL: [Word; 10] = [
        Word::Ipv4,
        Word::Ipv6,
        Word::Ip,
        Word::Duration,
        Word::SignedDuration,
        Word::Timestamp,
        Word::Date,
        Word::Time,
        Word::DateTime,
        Word::Uuid,
    ];

    /// The type of this name.
    pub fn named(name: &str) -> Option<Word> {
        Word::ALL.into_iter().find(|word| word.name() == name)
    }

    /// What tables record it as.
    pub fn name(self) -> &'static str {
        match self {
            Word::Ipv4 => "ipv4",
            Word::Ipv6 => "ipv6",
            Word::Ip => "ip",
            Word::Duration => "duration",
            Word::SignedDuration => "signed-duration",
            Word::Timestamp => "timestamp",
            Word::Date => "date",
            Word::Time => "time",
            Word::DateTime => "datetime",
            Word::Uuid => "uuid",
        }
    }

    /// What text of it looks like.
    pub fn example(self) -> &'static str {
        match self {
            Word::Ipv4 | Word::Ip => "192.0.2.1",
            Word::Ipv6 => "2001:db8::1",
            Word::Duration => "1h 30m",
            Word::SignedDuration => "-1h 30m",
            Word::Timestamp => "2026-11-27T21:40:00Z",
            Word::Date => "2026-11-27",
            Word::Time => "21:40:00.5",
            Word::DateTime => "2026-11-27T21:40:00",
            Word::Uuid => "0198c1f4-5b6a-7c3d-8e9f-a0b1c2d3e4f5",
        }
    }

    /// How many bytes each value has, if that is one number.
    pub fn fixed_len(self) -> Option<usize> {
        match self {
            Word::Ipv4 | Word::Date => Some(4),
            Word::Time => Some(7),
            Word::DateTime => Some(11),
            Word::Duration | Word::Timestamp => Some(12),
            Word::Ipv6 | Word::SignedDuration | Word::Uuid => Some(16),
            Word::Ip => None,
        }
    }

    /// How many bytes the value has that `bytes` begin with.
    pub fn len_within(self, bytes: &[u8]) -> Option<usize> {
        match (self, bytes.first()) {
            (Word::Ip, Some(4)) => Some(5),
            (Word::Ip, Some(6)) => Some(17),
            _ => self.fixed_len(),
        }
    }

    /// The bytes that `text` stands for. The error is a sentence.
    pub fn bytes_of_text(self, text: &str) -> Result<Vec<u8>, String> {
        let bytes = match self {
            Word::Ipv4 => text.parse().ok().map(|address: Ipv4Addr| address.octets().to_vec()),
            Word::Ipv6 => text.parse().ok().map(|address: Ipv6Addr| address.octets().to_vec()),
            Word::Ip => text.parse().ok().map(bytes_of_address),
            Word::Duration => humantime::parse_duration(text).ok().map(bytes_of_duration),
            Word::SignedDuration => {
                nanos_of_text(text).map(|nanos| (nanos ^ i128::MIN).to_be_bytes().to_vec())
            }
            Word::Timestamp => bytes_of_time::<Timestamp>(text),
            Word::Date => bytes_of_time::<Date>(text),
            Word::Time => bytes_of_time::<Time>(text),
            Word::DateTime => bytes_of_time::<DateTime>(text),
            Word::Uuid => Uuid::try_parse(text).ok().map(|id| id.as_bytes().to_vec()),
        };
        bytes.ok_or_else(|| format!("{text} is not of type {self} (such as {})", self.example()))
    }

    /// The text that stands for `bytes`; `None` if they are none of this type.
    pub fn text_of(self, bytes: &[u8]) -> Option<String> {
        match self {
            Word::Ipv4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string()),
            Word::Ipv6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string()),
            Word::Ip => match bytes.split_first()? {
                (4, address) => Word::Ipv4.text_of(address),
                (6, address) => Word::Ipv6.text_of(address),
                _ => None,
            },
            Word::Duration => {
                let (seconds, nanos) = bytes.split_first_chunk::<8>()?;
                let nanos = u32::from_be_bytes(nanos.try_into().ok()?);
                let is_one = u128::from(nanos) < NANOS_PER_SECOND;
                is_one.then(|| in_words(Duration::new(u64::from_be_bytes(*seconds), nanos)))
            }
            Word::SignedDuration => {
                let nanos = i128::from_be_bytes(bytes.try_into().ok()?) ^ i128::MIN;
                let sign = if nanos < 0 { "-" } else { "" };
                is_in_range(nanos).then(|| format!("{sign}{}", in_words(duration(nanos.unsigned_abs()))))
            }
            Word::Timestamp => Timestamp::take_alone(bytes).map(|time| time.to_string()),
            Word::Date => Date::take_alone(bytes).map(|date| date.to_string()),
            Word::Time => Time::take_alone(bytes).map(|time| time.to_string()),
            Word::DateTime => DateTime::take_alone(bytes).map(|time| time.to_string()),
            Word::Uuid => Some(Uuid::from_bytes(bytes.try_into().ok()?).to_string()),
        }
    }
}

fn bytes_of_address(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => [&[4][..], &address.octets()].concat(),
        IpAddr::V6(address) => [&[6][..], &address.octets()].concat(),
    }
}

fn bytes_of_time<T: FromStr + Part>(text: &str) -> Option<Vec<u8>> {
    Some(text.parse::<T>().ok()?.with_alone(<[u8]>::to_vec))
}

fn bytes_of_duration(time: Duration) -> Vec<u8> {
    [&time.as_secs().to_be_bytes()[..], &time.subsec_nanos().to_be_bytes()].concat()
}

fn nanos_of_text(text: &str) -> Option<i128> {
    let (time, is_negative) = match text.strip_prefix('-') {
        Some(time) => (time, true),
        None => (text, false),
    };
    let nanos = i128::try_from(humantime::parse_duration(time).ok()?.as_nanos()).ok()?;
    Some(if is_negative { -nanos } else { nanos }).filter(|nanos| is_in_range(*nanos))
}

/// Whether a signed duration can be so long: its seconds are 64 bits.
fn is_in_range(nanos: i128) -> bool {
    i64::try_from(nanos / NANOS_PER_SECOND as i128).is_ok()
}

fn duration(nanos: u128) -> Duration {
    Duration::new((nanos / NANOS_PER_SECOND) as u64, (nanos % NANOS_PER_SECOND) as u32)
}

fn in_words(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ends_of_each_type_are_read_as_they_are_shown() {
        let signed = |nanos: i128| (nanos ^ i128::MIN).to_be_bytes().to_vec();
        fn time_of<T: Part>(time: T) -> Vec<u8> {
            time.with_alone(<[u8]>::to_vec)
        }
        let most = i128::from(i64::MAX) * NANOS_PER_SECOND as i128 + 999_999_999;
        let table = [
            (Word::Ipv4, vec![0; 4], "0.0.0.0"),
            (Word::Ipv6, vec![0; 16], "::"),
            (Word::Ip, [&[6][..], &[0; 10], &[0xff, 0xff, 192, 0, 2, 1]].concat(), "::ffff:192.0.2.1"),
            (Word::Ip, vec![4, 192, 0, 2, 1], "192.0.2.1"),
            (Word::Duration, vec![0; 12], "0s"),
            (Word::Duration, bytes_of_duration(Duration::new(5400, 20_000_000)), "1h 30m 20ms"),
            (Word::Duration, bytes_of_duration(Duration::MAX), ""),
            (Word::SignedDuration, signed(0), "0s"),
            (Word::SignedDuration, signed(-1), "-1ns"),
            (Word::SignedDuration, signed(most), ""),
            (Word::SignedDuration, signed(i128::from(i64::MIN) * NANOS_PER_SECOND as i128 - 999_999_999), ""),
            (Word::Timestamp, time_of(Timestamp::UNIX_EPOCH), "1970-01-01T00:00:00Z"),
            (Word::Timestamp, time_of(Timestamp::MIN), ""),
            (Word::Timestamp, time_of(Timestamp::MAX), ""),
            (Word::Date, time_of(Date::MIN), "-009999-01-01"),
            (Word::Date, time_of(Date::MAX), "9999-12-31"),
            (Word::Time, time_of(Time::MIN), "00:00:00"),
            (Word::Time, time_of(Time::MAX), "23:59:59.999999999"),
            (Word::DateTime, time_of(DateTime::MAX), "9999-12-31T23:59:59.999999999"),
            (Word::Uuid, vec![0xff; 16], "ffffffff-ffff-ffff-ffff-ffffffffffff"),
        ];
        for (word, bytes, text) in table {
            let shown = word.text_of(&bytes).unwrap();
            assert!(text.is_empty() || text == shown, "{shown} of {word}");
            assert_eq!(word.bytes_of_text(&shown), Ok(bytes), "{word} {shown}");
        }
    }

    #[test]
    fn what_is_none_of_a_type_is_refused() {
        for (word, text) in [
            (Word::Ipv4, "192.0.2.256"),
            (Word::Ipv6, "192.0.2.1"),
            (Word::Ip, "example.org"),
            (Word::Duration, "5"),
            (Word::Duration, "-5s"),
            (Word::SignedDuration, "--5s"),
            (Word::SignedDuration, "300000000000years"),
            (Word::Timestamp, "2026-11-27T21:40:00"),
            (Word::Date, "2026-02-29"),
            (Word::Time, "24:00:00"),
            (Word::DateTime, "2026-11-27 25:00"),
            (Word::Uuid, "0198c1f4"),
        ] {
            let why = word.bytes_of_text(text).unwrap_err();
            assert!(why.starts_with(&format!("{text} is not of type {word} (such as ")), "{why}");
        }
        for (word, bytes) in [
            (Word::Ip, vec![5, 0, 0, 0, 0]),
            (Word::Ip, vec![4, 0, 0, 0]),
            (Word::Duration, [[0xff; 12]].concat()),
            (Word::SignedDuration, vec![0xff; 16]),
            (Word::Date, vec![0x80, 0, 13, 1]),
            (Word::Time, vec![23, 59, 60, 0, 0, 0, 0]),
            (Word::Timestamp, vec![0xff; 12]),
        ] {
            assert_eq!(word.text_of(&bytes), None, "{word} {bytes:?}");
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]

        #[test]
        fn whatever_is_shown_is_read_as_the_same(bytes: [u8; 17], seconds: u64, nanos in 0u32..1_000_000_000) {
            let whole = bytes_of_duration(Duration::new(seconds, nanos));
            let number = i128::from(seconds as i64) * NANOS_PER_SECOND as i128;
            let signed = (number ^ i128::MIN).to_be_bytes();
            for word in Word::ALL {
                let len = word.len_within(&bytes).unwrap_or(0);
                for bytes in [&bytes[..len], &whole[..], &signed[..]] {
                    let Some(shown) = word.text_of(bytes) else { continue };
                    prop_assert_eq!(word.bytes_of_text(&shown), Ok(bytes.to_vec()), "{} {}", word, shown);
                }
            }
            prop_assert!(Word::Duration.text_of(&whole).is_some() && Word::SignedDuration.text_of(&signed).is_some());
        }
    }
}
