//! Nothing but its test: many threads on one environment. A package of its own, so that a sanitizer need not build what other
//! tests of `mapledb` need.
