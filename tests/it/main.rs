//! What plyfs promises, held from outside of its modules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod architecture;
mod contention;
mod crash;
mod cut_short;
mod driver;
mod manual;
mod merging;
mod model;
mod passing_through;
mod peers;
mod platforms;
mod recorded;
mod registry;
mod sessions;
mod support;
mod together;
mod verifying;
mod writing;
