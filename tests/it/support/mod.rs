//! What several tests need.

#[allow(dead_code)]
pub mod fixture;
#[allow(dead_code)]
pub mod world;
