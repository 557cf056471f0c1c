//! Images in files: what `docker save` writes, OCI layouts, and bare tars.

mod location;

pub use location::{Form, InvalidLocation, Location};
