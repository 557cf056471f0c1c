//! The images of the store: listed, looked at, named, taken in, handed on and removed.

pub mod destination;
pub mod filter;
pub mod history;
pub mod images;
pub mod import;
pub mod inspect;
pub mod load;
pub mod pattern;
pub mod prune;
pub mod rmi;
pub mod save;
pub mod tag;
