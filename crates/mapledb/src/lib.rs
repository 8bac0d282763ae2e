//! MapleDB.
