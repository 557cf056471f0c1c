//! What several tests need.

#[allow(dead_code)]
pub mod fixture;
pub mod place;
#[allow(dead_code)]
pub mod world;
