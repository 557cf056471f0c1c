//! What several tests need.

#[allow(dead_code)]
pub mod fixture;
pub mod place;
pub mod server;
#[allow(dead_code)]
pub mod world;
