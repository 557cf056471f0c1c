//! Mounts: made and ended, also in the way of other mount programs; and what a machine allows of them.

pub mod doctor;
pub mod drop_in;
pub mod mount;
pub mod umount;
pub mod unshare;
