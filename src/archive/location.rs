//! Where an image in a file is, as the user wrote it: `docker-archive:PATH[:REF]`, `oci:PATH[:TAG]`,
//! `oci-archive:PATH[:TAG]`, `dir:PATH`, or a path that exists.

use std::fmt;
use std::path::{Path, PathBuf};

/// A path, what it is said to be, and which of its images is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub form: Form,
    pub path: PathBuf,
    /// A name or tag as it stands in the archive, or `@N`: the image at place N.
    pub reference: Option<String>,
}

/// What the user says that a path is. Every form may be a directory or a file, compressed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Not said: found out from what is there.
    Any,
    /// What `docker save` writes.
    Docker,
    /// An OCI image layout.
    Oci,
    /// The `dir:` transport of the containers tools: a manifest and blobs named by their hex digits.
    Dir,
}

/// Why a location cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLocation {
    #[error("{0:?} names no path")]
    NoPath(String),
    #[error("{0:?} is not @ and a number")]
    Index(String),
}

impl Location {
    /// Reads what the user wrote. `None`: it names no file, so it is the reference of an image. Looks at the file
    /// system, for a name like `a.tar` may be either, and a path may hold colons.
    pub fn parse(text: &str) -> Result<Option<Location>, InvalidLocation> {
        let Some((form, rest)) = transport(text) else {
            return plain(text).map(|found| Self::checked(Form::Any, found)).transpose();
        };
        if rest.is_empty() {
            return Err(InvalidLocation::NoPath(text.to_owned()));
        }
        let found = if form == Form::Dir { (rest, None) } else { split_where_it_exists(rest) };
        Self::checked(form, found).map(Some)
    }

    fn checked(form: Form, (path, reference): (&str, Option<&str>)) -> Result<Location, InvalidLocation> {
        if let Some(index) = reference.and_then(|reference| reference.strip_prefix('@'))
            && index.parse::<usize>().is_err()
        {
            return Err(InvalidLocation::Index(format!("@{index}")));
        }
        Ok(Location { form, path: PathBuf::from(path), reference: reference.map(str::to_owned) })
    }
}

fn transport(text: &str) -> Option<(Form, &str)> {
    let (name, rest) = text.split_once(':')?;
    let form = match name {
        "docker-archive" => Form::Docker,
        "oci" | "oci-archive" => Form::Oci,
        "dir" => Form::Dir,
        _ => return None,
    };
    Some((form, rest))
}

/// Text without a transport: a path if it is spelled as one, or if something that can hold an image is there.
fn plain(text: &str) -> Option<(&str, Option<&str>)> {
    let spelled = ["/", "./", "../"].iter().any(|prefix| text.starts_with(prefix));
    let found = split_where_it_exists(text);
    (spelled || holds_images(found.0)).then_some(found)
}

/// Whether a name that could also be a reference is taken as a path. A bare word (`alpine`) never is: a file of that
/// name in the working directory must not stand before the image.
fn holds_images(name: &str) -> bool {
    let path = Path::new(name);
    name.contains(['/', '.'])
        && (path.is_file() || ["index.json", "manifest.json"].iter().any(|file| path.join(file).is_file()))
}

/// The whole text if it exists, else up to the first colon before which something exists, else up to the first colon.
fn split_where_it_exists(text: &str) -> (&str, Option<&str>) {
    if Path::new(text).exists() {
        return (text, None);
    }
    let splits = || text.char_indices().filter(|&(at, char)| char == ':' && at > 0).map(|(at, _)| at);
    let chosen = splits().find(|&at| Path::new(&text[..at]).exists()).or_else(|| splits().next());
    match chosen {
        Some(at) => (&text[..at], Some(&text[at + 1..]).filter(|reference| !reference.is_empty())),
        None => (text, None),
    }
}

/// `parse(display(location)) == location` for a path that exists.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.form {
            Form::Any => {}
            Form::Docker => f.write_str("docker-archive:")?,
            Form::Oci => f.write_str("oci:")?,
            Form::Dir => f.write_str("dir:")?,
        }
        write!(f, "{}", self.path.display())?;
        self.reference.iter().try_for_each(|reference| write!(f, ":{reference}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory_with(names: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(directory.path().join(name), b"").unwrap();
        }
        directory
    }

    fn parsed(text: &str) -> (Form, String, Option<String>) {
        let location = Location::parse(text).unwrap().unwrap();
        (location.form, location.path.to_str().unwrap().to_owned(), location.reference)
    }

    #[test]
    fn a_reference_may_hold_slashes_and_colons() {
        let directory = directory_with(&["y.tar"]);
        let path = directory.path().join("y.tar").to_str().unwrap().to_owned();
        let expected = (Form::Docker, path.clone(), Some("example.com:5000/a/b:tag".to_owned()));
        assert_eq!(parsed(&format!("docker-archive:{path}:example.com:5000/a/b:tag")), expected);
        assert_eq!(parsed(&format!("{path}:v1")), (Form::Any, path.clone(), Some("v1".to_owned())));
        assert_eq!(parsed(&format!("oci-archive:{path}")), (Form::Oci, path, None));
    }

    #[test]
    fn a_path_that_holds_a_colon_is_found() {
        let directory = directory_with(&["a:b.tar"]);
        let path = directory.path().join("a:b.tar").to_str().unwrap().to_owned();
        assert_eq!(parsed(&path), (Form::Any, path.clone(), None));
        assert_eq!(parsed(&format!("docker-archive:{path}:@1")), (Form::Docker, path, Some("@1".to_owned())));
    }

    #[test]
    fn what_names_no_file_is_the_reference_of_an_image() {
        for text in
            ["alpine", "alpine:3.20", "example.com/no/such:tag", "localhost:5000/x", "docker://alpine"]
        {
            assert_eq!(Location::parse(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn a_path_spelled_as_one_is_a_location_even_where_nothing_is() {
        assert_eq!(parsed("./none.tar"), (Form::Any, "./none.tar".to_owned(), None));
        assert_eq!(parsed("/none.tar:x/y:1"), (Form::Any, "/none.tar".to_owned(), Some("x/y:1".to_owned())));
    }

    #[test]
    fn a_transport_needs_a_path_and_an_index_a_number() {
        assert_eq!(Location::parse("oci:"), Err(InvalidLocation::NoPath("oci:".to_owned())));
        assert_eq!(Location::parse("oci:/x:@one"), Err(InvalidLocation::Index("@one".to_owned())));
    }
}
