//! The meaning of policies: the proven model, its validation, the plain judge and warnings.

pub mod judge;
pub mod lint;
pub mod model;
pub mod reason;
