//! One tree out of an image: what every path is, by node.

mod ids;

pub use ids::{IdMap, Ids};
