//! Crash images, faults and kills for MapleDB.
