//! System calls: the only home of `unsafe`.
pub mod beneath;
pub mod clock;
pub mod copy;
pub mod credentials;
pub mod detached;
pub mod file;
pub mod handle;
pub mod map;
pub mod mount;
pub mod namespace;
pub mod order;
pub mod overlay;
pub mod process;
pub mod socket;
pub mod terminal;
pub mod xattr;
pub mod zlib;
