//! Derives keys and values of MapleDB. Use them through the feature `derive` of the crate `mapledb`, whose reference
//! describes them with examples.
//!
//! A type is taken apart in `input`; `value` and `key` write what is derived.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod input;
mod key;
mod value;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// A type of values: a struct whose fields are parts, or an enum of such variants.
///
/// `#[maple(name = "…")]` gives it the name that files record, instead of one that tells its structure;
/// `#[maple(in_place)]` makes a `bytemuck::Pod` struct one that is read in place.
#[proc_macro_derive(MapleValue, attributes(maple))]
pub fn maple_value(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    value::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// A type of keys, beside `MapleValue`: it sorts by its first field, then by the second, and so on; an enum first by its
/// variants as they are declared.
#[proc_macro_derive(MapleKey, attributes(maple))]
pub fn maple_key(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    key::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
