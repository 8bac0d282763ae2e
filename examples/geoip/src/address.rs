//! Addresses of both families and the ranges they fall into.
//!
//! An address is held as 128 bits whatever its family, so that everything above this file is written once.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The two address families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    /// The highest address.
    pub const fn last(self) -> u128 {
        match self {
            Family::V4 => u32::MAX as u128,
            Family::V6 => u128::MAX,
        }
    }

    /// 0 for IPv4, 1 for IPv6: where this family stands in a pair of things.
    pub const fn index(self) -> usize {
        match self {
            Family::V4 => 0,
            Family::V6 => 1,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// One address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    pub family: Family,
    pub bits: u128,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.family {
            Family::V4 => Ipv4Addr::from(self.bits as u32).fmt(f),
            Family::V6 => Ipv6Addr::from(self.bits).fmt(f),
        }
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Address {
        match address {
            IpAddr::V4(v4) => Address { family: Family::V4, bits: u32::from(v4).into() },
            IpAddr::V6(v6) => Address { family: Family::V6, bits: v6.into() },
        }
    }
}

/// A two-letter country code, as bytes; `??` where the data does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Country(pub [u8; 2]);

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

/// The addresses `start ..= end` of one family, all of one country.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub start: u128,
    pub end: u128,
    pub country: Country,
}

impl Range {
    pub fn covers(&self, bits: u128) -> bool {
        self.start <= bits && bits <= self.end
    }
}

/// The ranges of both families; within a family ascending and disjoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges {
    families: [Vec<Range>; 2],
}

impl Ranges {
    /// Takes ranges in any order.
    ///
    /// # Errors
    /// Two ranges that overlap, named.
    pub fn new(mut families: [Vec<Range>; 2]) -> Result<Ranges, Overlap> {
        for family in Family::ALL {
            let ranges = &mut families[family.index()];
            ranges.sort_unstable_by_key(|range| range.start);
            if let Some(pair) = ranges.windows(2).find(|pair| pair[1].start <= pair[0].end) {
                let at = |bits| Address { family, bits };
                return Err(Overlap { end: at(pair[0].end), start: at(pair[1].start) });
            }
        }
        Ok(Ranges { families })
    }

    pub fn of(&self, family: Family) -> &[Range] {
        &self.families[family.index()]
    }

    /// How many ranges each family has.
    pub fn counts(&self) -> [u64; 2] {
        Family::ALL.map(|family| self.of(family).len() as u64)
    }
}

/// Why ranges are refused: one starts before the one below it has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Overlap {
    end: Address,
    start: Address,
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a range starts at {}, inside the one that ends at {}", self.start, self.end)
    }
}

impl std::error::Error for Overlap {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for text in ["0.0.0.0", "1.2.3.4", "255.255.255.255", "::", "::1", "2001:db8::"] {
            let address = Address::from(text.parse::<IpAddr>().expect("an address"));
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn touching_ranges_pass_and_overlapping_ones_are_named() {
        let range = |start, end| Range { start, end, country: Country(*b"XX") };
        let ranges = Ranges::new([vec![range(5, 9), range(1, 4)], vec![]]).expect("disjoint");
        assert_eq!(ranges.of(Family::V4)[0].start, 1);
        let overlap = Ranges::new([vec![range(5, 9), range(1, 5)], vec![]]).expect_err("they share 5");
        assert_eq!(overlap.to_string(), "a range starts at 0.0.0.5, inside the one that ends at 0.0.0.5");
    }
}
