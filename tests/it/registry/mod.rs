//! Images in registries: such as answer by the book, oddly but legally, wrongly, or not at all.

mod debian;
mod killed;
mod odd;
mod peers;
mod secrets;
mod started;
mod told;
mod wrong;

use std::path::PathBuf;
use std::process::Output;

use plyfs::oci::Digest;

use crate::support::fixture::Fixture;
use crate::support::place::Place;
use crate::support::server::Server;

pub const SMALL: &str = "name small:1\nlayer gzip\nfile etc/motd : hello\nlayer zstd\nfile data size=300000\nlayer plain\nfile etc/last : end\n";

/// A place of its own, and the image of `text` as a layout in it.
pub fn layout(place: &Place, text: &str) -> PathBuf {
    let path = place.path("layout");
    Fixture::parse(text).unwrap().oci_layout(&path).unwrap();
    path
}

/// The image on the server's shelves as `team/app:1`.
pub fn stocked(place: &Place, server: &Server, text: &str) -> Digest {
    server.stock(&layout(place, text), "team/app", "1")
}

pub fn name(server: &Server) -> String {
    format!("{}/team/app:1", server.address)
}

/// Pulls with no long pauses.
pub fn pull(place: &Place, name: &str) -> Output {
    place.run(&["pull", "--retry-delay", "0.01", name])
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The image is whole: what it holds, and that all blobs are what their names say.
pub fn assert_whole(place: &Place, name: &str) {
    assert_eq!(place.plyfs(&["ls", name]), "data\netc\n");
    assert_eq!(
        place.plyfs(&["cat", &format!("{name}:/etc/motd"), &format!("{name}:/etc/last")]),
        "hello\nend\n"
    );
    crate::support::place::check_store(&place.store());
}

/// Nothing but the empty store.
pub fn assert_nothing(place: &Place) {
    let store = place.store();
    for folder in ["blobs/sha256", "plyfs/indexes", "plyfs/sidecars", "plyfs/partial", "plyfs/tmp"] {
        assert_eq!(crate::support::place::names(&store.join(folder)), Vec::<String>::new(), "{folder}");
    }
    assert_eq!(place.plyfs(&["images", "-q"]), "");
}
