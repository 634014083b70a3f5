//! Tests of the compiler: the tables say what the judge says.

mod agree;
mod conditions;
mod evaluate;
mod guards;
mod links;
mod random;
mod size;
