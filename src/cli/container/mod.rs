//! Containers, in docker's words: made of an image and run, looked after, and removed.

pub mod bundle;
pub mod exec;
pub mod inspect;
pub mod logs;
pub mod ps;
pub mod refused;
pub mod root;
pub mod run;
pub mod stop;
pub mod wanted;
