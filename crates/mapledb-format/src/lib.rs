//! The MapleDB file format: what every byte means. Pure functions over byte slices.
#![forbid(unsafe_code)]
