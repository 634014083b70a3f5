//! What makes the daemon look again.
