//! Makes an image from a few lines of text: `fixture TEXT.layers OUT.tar` writes a docker-archive, and an OUT that does
//! not end in `.tar` becomes an OCI layout. The language is described in tests/it/support/fixture.rs.

#[path = "../tests/it/support/fixture.rs"]
#[allow(dead_code)]
mod fixture;

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [text, out] = arguments.as_slice() else {
        return Err("usage: fixture TEXT.layers OUT[.tar]".into());
    };
    let fixture = fixture::Fixture::parse(&std::fs::read_to_string(text)?)?;
    if out.ends_with(".tar") {
        std::fs::write(out, fixture.docker_archive()?)?;
    } else {
        fixture.oci_layout(Path::new(out))?;
    }
    Ok(())
}
