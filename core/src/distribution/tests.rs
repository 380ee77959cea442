//! The rules against what the clients themselves have chosen, and against naive twins.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod naive;
mod rules;
mod vectors;
