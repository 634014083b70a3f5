//! Directory -> snapshot: stable reads. Knows no TOML.
