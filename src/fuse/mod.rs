//! The FUSE protocol, and the only home of `fuser`: requests in, one method of the union called, its answer out.

mod adapter;
mod answer;
mod convert;
mod listener;
mod measure;
mod opening;
mod passthrough;
mod pool;
mod session;
mod writable;

pub use convert::UNLIMITED;
pub use session::{Opens, Prepared, Session};
pub use writable::Settings;
