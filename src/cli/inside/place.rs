//! `IMAGE:PATH`: a place in an image. The text is split at its last `:/`, behind the transport if it starts with one
//! (`docker://`, `docker-archive:`, `oci:` and so on); PATH keeps the slash. Without a `:/` all of it is IMAGE.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::cli::error::Usage;

const TRANSPORTS: [&[u8]; 5] = [b"docker://", b"docker-archive:", b"oci-archive:", b"oci:", b"dir:"];

/// An image as the user named it, and a path in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub image: String,
    pub path: Vec<u8>,
}

/// The two parts of `IMAGE[:PATH]`.
pub fn split(text: &OsStr) -> Result<(String, Option<Vec<u8>>), Usage> {
    let bytes = text.as_bytes();
    let rest = TRANSPORTS.iter().find_map(|name| bytes.strip_prefix(*name)).unwrap_or(bytes);
    let skipped = bytes.len() - rest.len();
    let (image, path) = match rest.windows(2).rposition(|pair| pair == b":/") {
        Some(0) => return Err(Usage(format!("{} names no image", text.display()))),
        Some(at) => (&bytes[..skipped + at], Some(rest[at + 1..].to_vec())),
        None => (bytes, None),
    };
    let image = std::str::from_utf8(image).map_err(|_| Usage(format!("{} is no text", text.display())))?;
    if image.is_empty() {
        return Err(Usage("an empty name names no image".to_owned()));
    }
    Ok((image.to_owned(), path))
}

/// What `COMMAND IMAGE [PATH]...` or `COMMAND IMAGE:PATH...` means: places, one at least.
pub fn places(arguments: &[OsString]) -> Result<Vec<Place>, Usage> {
    let Some((first, rest)) = arguments.split_first() else {
        return Err(Usage("no image is named".to_owned()));
    };
    match split(first)? {
        (image, None) if rest.is_empty() => Ok(vec![Place { image, path: b"/".to_vec() }]),
        (image, None) => {
            let path = |path: &OsString| Place { image: image.clone(), path: path.clone().into_vec() };
            Ok(rest.iter().map(path).collect())
        }
        (..) => arguments.iter().map(|argument| place(argument)).collect(),
    }
}

/// `IMAGE:PATH`, where the path must be there.
pub fn place(argument: &OsStr) -> Result<Place, Usage> {
    match split(argument)? {
        (image, Some(path)) => Ok(Place { image, path }),
        (..) => Err(Usage(format!("{} is not IMAGE:/PATH", argument.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, Option<String>) {
        let (image, path) = split(OsStr::new(text)).unwrap();
        (image, path.map(|path| String::from_utf8(path).unwrap()))
    }

    #[test]
    fn the_last_colon_before_a_slash_ends_the_image() {
        for (text, image, path) in [
            ("alpine", "alpine", None),
            ("alpine:3.20", "alpine:3.20", None),
            ("alpine:3.20:/etc", "alpine:3.20", Some("/etc")),
            ("nginx.tar:/etc/nginx/nginx.conf", "nginx.tar", Some("/etc/nginx/nginx.conf")),
            ("/tmp/x.tar:/a:b", "/tmp/x.tar", Some("/a:b")),
            ("localhost:5000/a:1:/", "localhost:5000/a:1", Some("/")),
            ("docker-archive:/tmp/x.tar", "docker-archive:/tmp/x.tar", None),
            ("docker://r.io/a:1:/etc", "docker://r.io/a:1", Some("/etc")),
            ("docker://r.io/a", "docker://r.io/a", None),
            ("oci:/tmp/x:latest:/etc", "oci:/tmp/x:latest", Some("/etc")),
        ] {
            assert_eq!(parts(text), (image.to_owned(), path.map(str::to_owned)), "{text}");
        }
        assert!(split(OsStr::new(":/etc")).is_err());
        assert!(split(OsStr::new("")).is_err());
    }

    #[test]
    fn paths_follow_an_image_or_each_names_its_own() {
        let read = |arguments: &[&str]| places(&arguments.iter().map(OsString::from).collect::<Vec<_>>());
        let place = |image: &str, path: &str| Place { image: image.to_owned(), path: path.into() };
        assert_eq!(read(&["a"]).unwrap(), [place("a", "/")]);
        assert_eq!(read(&["a", "/b", "c"]).unwrap(), [place("a", "/b"), place("a", "c")]);
        assert_eq!(read(&["a:/b", "c:/d"]).unwrap(), [place("a", "/b"), place("c", "/d")]);
        assert!(read(&["a:/b", "c"]).is_err());
    }
}
