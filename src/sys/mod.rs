//! System calls: the only home of `unsafe`.
pub mod beneath;
