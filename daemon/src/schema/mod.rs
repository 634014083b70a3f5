//! TOML exactly as written, every value with its place. Knows keys and types; knows no meaning.

pub mod diagnose;
mod render;

pub use render::render;
