//! The delivery engine: from records to committed effects, exactly once in the store, order kept, nothing lost.

pub mod observe;
pub mod unit_of_work;
