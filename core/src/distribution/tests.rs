//! Compares the rules with the servers that the clients themselves chose, and with naive twins.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod naive;
mod rules;
mod vectors;
