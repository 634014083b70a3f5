//! The story: one function, one call a stage, one generation.
