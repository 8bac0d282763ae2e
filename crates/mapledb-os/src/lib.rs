//! Every effect MapleDB has on the operating system.
