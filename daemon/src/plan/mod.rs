//! What is wanted against what is there -> actions. Pure.
