//! The FUSE protocol, and the only home of `fuser`: requests in, one method of the union called, its answer out.

mod adapter;
mod convert;
mod readers;
mod session;

pub use session::{Prepared, Session};
