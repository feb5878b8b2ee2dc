//! Label table to router (Burn).
