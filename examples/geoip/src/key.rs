//! The bytes of a key: a family byte, then the address big-endian.
//!
//! So bytewise order is numeric order within a family, and all of IPv4 lies before all of IPv6.

use crate::address::{Address, Family};

impl Family {
    /// The first byte of a key of this family.
    pub const fn byte(self) -> u8 {
        match self {
            Family::V4 => 4,
            Family::V6 => 6,
        }
    }

    /// The family a key's first byte names.
    pub fn of_byte(byte: u8) -> Option<Family> {
        Family::ALL.into_iter().find(|family| family.byte() == byte)
    }

    /// How many bytes an address has.
    pub const fn len_bytes(self) -> usize {
        match self {
            Family::V4 => 4,
            Family::V6 => 16,
        }
    }
}

/// An address as a key: at most 17 bytes, on the stack.
#[derive(Clone, Copy)]
pub struct Key {
    bytes: [u8; 17],
    len_bytes: usize,
}

impl Key {
    pub fn of(address: Address) -> Key {
        let len_bytes = address.family.len_bytes();
        let mut bytes = [0; 17];
        bytes[0] = address.family.byte();
        bytes[1..=len_bytes].copy_from_slice(&address.bits.to_be_bytes()[16 - len_bytes..]);
        Key { bytes, len_bytes: 1 + len_bytes }
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len_bytes]
    }
}

/// Reads a key back; `None` unless it is one.
pub fn address_of_key(key: &[u8]) -> Option<Address> {
    let (&byte, bytes) = key.split_first()?;
    let family = Family::of_byte(byte)?;
    Some(Address { family, bits: bits_of_bytes(family, bytes)? })
}

/// The big-endian address of `bytes`; `None` if they are not as many as the family's.
pub fn bits_of_bytes(family: Family, bytes: &[u8]) -> Option<u128> {
    let mut wide = [0; 16];
    if bytes.len() != family.len_bytes() {
        return None;
    }
    wide[16 - bytes.len()..].copy_from_slice(bytes);
    Some(u128::from_be_bytes(wide))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn address(text: &str) -> Address {
        Address::from(text.parse::<IpAddr>().expect("an address"))
    }

    #[test]
    fn keys_sort_as_addresses_and_read_back() {
        let ascending =
            ["0.0.0.0", "0.0.0.255", "1.0.0.0", "255.255.255.255", "::", "::1", "2001::", "ffff::"];
        for pair in ascending.windows(2) {
            let (low, high) = (Key::of(address(pair[0])), Key::of(address(pair[1])));
            assert!(low.as_ref() < high.as_ref(), "{} before {}", pair[0], pair[1]);
        }
        for text in ascending {
            let key = Key::of(address(text));
            assert_eq!(address_of_key(key.as_ref()), Some(address(text)));
        }
    }

    #[test]
    fn a_key_of_another_shape_is_refused() {
        for key in [&b""[..], b"\x04", b"\x04abc", b"\x04abcde", b"\x05abcd", b"\x06abcd"] {
            assert_eq!(address_of_key(key), None, "{key:?}");
        }
    }
}
