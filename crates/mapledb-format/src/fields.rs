//! Little-endian integers at constant offsets of fixed-size records.
//!
//! The offset is a const argument and the record an array, so that a field lies inside its record is
//! checked when the layout compiles, and reading one can neither fail nor panic.

/// The `N` bytes of `record` at `AT`.
#[inline(always)]
pub(crate) fn get<const AT: usize, const N: usize, const LEN: usize>(record: &[u8; LEN]) -> [u8; N] {
    const { assert!(AT + N <= LEN, "field lies outside its record") };
    let mut field = [0; N];
    field.copy_from_slice(&record[AT..AT + N]);
    field
}

/// Stores `field` into `record` at `AT`.
#[inline(always)]
pub(crate) fn put<const AT: usize, const N: usize, const LEN: usize>(record: &mut [u8; LEN], field: [u8; N]) {
    const { assert!(AT + N <= LEN, "field lies outside its record") };
    record[AT..AT + N].copy_from_slice(&field);
}

/// The u16 of `record` at `AT`.
#[inline(always)]
pub(crate) fn get_u16<const AT: usize, const LEN: usize>(record: &[u8; LEN]) -> u16 {
    u16::from_le_bytes(get::<AT, 2, LEN>(record))
}

/// The u32 of `record` at `AT`.
#[inline(always)]
pub(crate) fn get_u32<const AT: usize, const LEN: usize>(record: &[u8; LEN]) -> u32 {
    u32::from_le_bytes(get::<AT, 4, LEN>(record))
}

/// The u64 of `record` at `AT`.
#[inline(always)]
pub(crate) fn get_u64<const AT: usize, const LEN: usize>(record: &[u8; LEN]) -> u64 {
    u64::from_le_bytes(get::<AT, 8, LEN>(record))
}

/// Stores a u16 into `record` at `AT`.
#[inline(always)]
pub(crate) fn put_u16<const AT: usize, const LEN: usize>(record: &mut [u8; LEN], value: u16) {
    put::<AT, 2, LEN>(record, value.to_le_bytes());
}

/// Stores a u32 into `record` at `AT`.
#[inline(always)]
pub(crate) fn put_u32<const AT: usize, const LEN: usize>(record: &mut [u8; LEN], value: u32) {
    put::<AT, 4, LEN>(record, value.to_le_bytes());
}

/// Stores a u64 into `record` at `AT`.
#[inline(always)]
pub(crate) fn put_u64<const AT: usize, const LEN: usize>(record: &mut [u8; LEN], value: u64) {
    put::<AT, 8, LEN>(record, value.to_le_bytes());
}
