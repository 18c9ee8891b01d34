//! The models that are served: where they come from, what they are called, how they start, and how
//! one takes another's place.

mod compatible;
pub(crate) mod error;
pub(crate) mod model;
pub(crate) mod models;
pub(crate) mod reload;
pub(crate) mod source;
