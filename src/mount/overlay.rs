//! The options of a union of directories, in the words of overlayfs and fuse-overlayfs: `lowerdir=a:b,upperdir=u,
//! workdir=w`. What would show or keep other data than was asked for is refused; a word nobody knows is a warning.

use std::path::PathBuf;

use super::options::{InvalidOption, Options, number};
use super::words::{paths, plain, split};
use crate::union::{IdRange, Ids};

/// A union of directories that is asked for. Paths are as they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Topmost first.
    pub lowers: Vec<PathBuf>,
    pub upper: Option<UpperPaths>,
    pub options: Options,
    pub warnings: Vec<String>,
}

/// An upper of the user's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpperPaths {
    pub upper: PathBuf,
    pub work: PathBuf,
}

#[derive(Default)]
struct Words {
    lowers: Vec<PathBuf>,
    upper: Option<PathBuf>,
    work: Option<PathBuf>,
    options: Options,
    warnings: Vec<String>,
}

impl Overlay {
    /// `options` is what holds where nothing else is said.
    pub fn parse<S: AsRef<str>>(
        given: impl IntoIterator<Item = S>,
        options: Options,
    ) -> Result<Self, InvalidOption> {
        let mut words = Words { options, ..Words::default() };
        for list in given {
            split(list.as_ref()).into_iter().try_for_each(|word| words.take(word))?;
            words.options.remember(list.as_ref());
        }
        words.finish()
    }

    /// Whether the mount can be written to.
    pub fn is_writable(&self) -> bool {
        self.upper.is_some() && self.options.read_only != Some(true)
    }
}

impl Words {
    fn take(&mut self, word: &str) -> Result<(), InvalidOption> {
        match word.split_once('=') {
            Some(("lowerdir", value)) => self.take_lowers(word, value),
            Some(("upperdir", value)) => {
                self.upper = Some(plain(value).into());
                Ok(())
            }
            Some(("workdir", value)) => {
                self.work = Some(plain(value).into());
                Ok(())
            }
            Some(("uidmapping", value)) => {
                self.options.ids.users = mapping("uidmapping", value)?;
                Ok(())
            }
            Some(("gidmapping", value)) => {
                self.options.ids.groups = mapping("gidmapping", value)?;
                Ok(())
            }
            Some((name @ ("squash_to_uid" | "squash_to_gid"), value)) => self.squash(name, value),
            _ if word == "squash_to_root" => {
                self.squash("squash_to_uid", "0").and_then(|()| self.squash("squash_to_gid", "0"))
            }
            Some(("redirect_dir", value @ ("off" | "follow" | "nofollow"))) => {
                self.options.redirects = value != "nofollow";
                Ok(())
            }
            _ => match refusal(word) {
                Some(why) => Err(InvalidOption::Refused { word: word.to_owned(), why }),
                None if is_without_effect(word) => Ok(()),
                None => self.take_general(word),
            },
        }
    }

    fn take_lowers(&mut self, word: &str, value: &str) -> Result<(), InvalidOption> {
        let refused = |why| Err(InvalidOption::Refused { word: word.to_owned(), why });
        let lowers = paths(value);
        if lowers.iter().any(|path| path.starts_with("//")) {
            return refused("plugins are not supported");
        }
        if lowers.iter().any(String::is_empty) {
            return refused("a path between two colons is empty (data-only layers are not supported)");
        }
        self.lowers = lowers.into_iter().map(PathBuf::from).collect();
        Ok(())
    }

    fn squash(&mut self, name: &str, value: &str) -> Result<(), InvalidOption> {
        let ids = Ids::All(number(name, &plain(value))?);
        match name {
            "squash_to_uid" => self.options.ids.users = ids,
            _ => self.options.ids.groups = ids,
        }
        Ok(())
    }

    fn take_general(&mut self, word: &str) -> Result<(), InvalidOption> {
        match self.options.take(word) {
            Err(InvalidOption::Unknown(word)) => {
                self.warnings.push(format!("unknown mount option `{word}` is ignored"));
                Ok(())
            }
            taken => taken,
        }
    }

    fn finish(self) -> Result<Overlay, InvalidOption> {
        let Self { lowers, upper, work, options, warnings } = self;
        if lowers.is_empty() {
            return Err(InvalidOption::Missing("lowerdir"));
        }
        options.refuse_contradictions()?;
        if upper.is_none() && options.passthrough == Some(true) {
            let why = "without an upper there is no file to give to the kernel";
            return Err(InvalidOption::Refused { word: "passthrough".to_owned(), why });
        }
        let upper = match (upper, work) {
            (Some(upper), Some(work)) => Some(UpperPaths { upper, work }),
            (Some(_), None) => return Err(InvalidOption::Missing("workdir")),
            (None, _) => None,
        };
        Ok(Overlay { lowers, upper, options, warnings })
    }
}

/// `STORED:SHOWN:COUNT`, several with `:` or `,` between them; podman puts one before the first, too.
fn mapping(name: &'static str, value: &str) -> Result<Ids, InvalidOption> {
    let value = plain(value);
    let numbers = value.split([':', ',']).filter(|word| !word.is_empty());
    let numbers = numbers.map(|word| number(name, word)).collect::<Result<Vec<u32>, _>>()?;
    let (triples, rest) = numbers.as_chunks::<3>();
    if triples.is_empty() || !rest.is_empty() {
        let expected = "STORED:SHOWN:COUNT, once or several times";
        return Err(InvalidOption::Value { name, value, expected });
    }
    let range = |&[stored, shown, length]: &[u32; 3]| IdRange { stored, shown, length };
    Ok(Ids::Mapped(triples.iter().map(range).collect()))
}

/// What cannot be honoured and would matter, and why.
fn refusal(word: &str) -> Option<&'static str> {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    match (name, value) {
        ("plugins", _) => Some("plugins are not supported"),
        ("nfs_export", "on") => Some("an exported union is not supported"),
        ("index", "on") => Some("an index of hard links is not kept"),
        ("verity", "on" | "require") => Some("files are not checked against a digest of fs-verity"),
        ("datadir+" | "lowerdir+", _) => Some("data-only layers are not supported"),
        ("redirect_dir", "on") => Some("a directory that is renamed is copied up instead"),
        ("xattr_permissions", "1" | "2") => Some("owners are not kept in extended attributes"),
        _ => None,
    }
}

/// What asks for nothing else than what is done anyway.
fn is_without_effect(word: &str) -> bool {
    let (name, _) = word.split_once('=').unwrap_or((word, ""));
    matches!(
        name,
        "threaded"
            | "fast_ino"
            | "sync"
            | "async"
            | "kernel_cache"
            | "auto_cache"
            | "splice_read"
            | "splice_write"
            | "splice_move"
            | "static_nlink"
            | "clone_fd"
            | "max_idle_threads"
            | "xino"
            | "auto_unmount"
    ) || matches!(
        word,
        "index=off"
            | "uuid=off"
            | "uuid=null"
            | "uuid=auto"
            | "nfs_export=off"
            | "verity=off"
            | "xattr_permissions=0"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &[&str]) -> Result<Overlay, InvalidOption> {
        Overlay::parse(given, Options::default())
    }

    #[test]
    fn what_podman_asks_for_is_understood() {
        let overlay = parse(&[
            r"lowerdir=l/A:l/B\:C,upperdir=/s/diff,workdir=/s/work,volatile,userxattr,fancy",
            "context=\"system_u:object_r:x:s0:c1,c2\"",
        ])
        .unwrap();
        assert_eq!(overlay.lowers, [PathBuf::from("l/A"), PathBuf::from("l/B:C")]);
        let upper = UpperPaths { upper: "/s/diff".into(), work: "/s/work".into() };
        assert_eq!(overlay.upper, Some(upper));
        assert_eq!(overlay.warnings, ["unknown mount option `fancy` is ignored"]);
        assert_eq!(overlay.options.labels, [r#"context="system_u:object_r:x:s0:c1,c2""#]);
        assert!(overlay.is_writable());
    }

    #[test]
    fn lower_directories_alone_are_a_read_only_union() {
        let overlay = parse(&["lowerdir=a:b"]).unwrap();
        assert_eq!((overlay.is_writable(), overlay.upper), (false, None));
    }

    #[test]
    fn ids_are_mapped_in_podmans_spelling_and_ours() {
        let range = |stored, shown, length| IdRange { stored, shown, length };
        let expected = Ids::Mapped([range(0, 1000, 1), range(1, 100_000, 65_536)].into());
        let mapped = parse(&["lowerdir=l,uidmapping=:0:1000:1:1:100000:65536"]).unwrap();
        assert_eq!(mapped.options.ids.users, expected);
        let mapped = parse(&[r"lowerdir=l,gidmapping=0:1000:1\,1:100000:65536"]).unwrap();
        assert_eq!(mapped.options.ids.groups, expected);
        assert!(matches!(parse(&["lowerdir=l,uidmapping=0:1"]), Err(InvalidOption::Value { .. })));
    }

    #[test]
    fn what_would_show_other_data_is_refused_by_name() {
        assert_eq!(parse(&["upperdir=u,workdir=w"]), Err(InvalidOption::Missing("lowerdir")));
        assert_eq!(parse(&["lowerdir=l,upperdir=u"]), Err(InvalidOption::Missing("workdir")));
        for word in ["nfs_export=on", "index=on", "plugins=a.so", "lowerdir=a::b", "lowerdir=//p/x"] {
            let refused = parse(&["lowerdir=l", word]);
            assert!(
                matches!(&refused, Err(InvalidOption::Refused { word: told, .. }) if told == word),
                "{refused:?}"
            );
        }
    }
}
