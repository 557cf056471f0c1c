//! plyfs turns a container image into a directory, without unpacking it.
//!
//! The modules stand on floors; each imports only from lower ones (`docs/ARCHITECTURE.md`, held by
//! `tests/it/architecture.rs`):
//!
//! - 0 [`oci`] the specs' nouns as data; [`sys`] system calls and the only home of `unsafe`
//! - 1 [`store`] what is on disk; [`stats`] what a mount counts
//! - 2 [`layer`] one layer: its index, its files on demand
//! - 3 [`image`] what an image is
//! - 4 [`archive`] images in files; [`registry`] images in registries, and the only home of HTTP; [`lower`] the
//!   read-only side, layers merged once
//! - 5 [`union`] overlay semantics
//! - 6 [`fuse`] the protocol, and the only home of `fuser`
//! - 7 [`mount`] a running mount
//! - 8 [`container`] what is run in a mount; [`bench`](mod@bench) drivers compared
//! - 9 [`cli`] commands, and the only home of printing

pub mod archive;
pub mod bench;
pub mod cli;
pub mod container;
pub mod fuse;
pub mod image;
pub mod layer;
pub mod lower;
pub mod mount;
pub mod oci;
pub mod registry;
pub mod stats;
pub mod store;
pub mod sys;
pub mod union;
