//! TOML exactly as written, every value with its place. Knows no meaning.
