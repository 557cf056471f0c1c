//! The words after `-o` that every mount understands: those of mount(8), of FUSE, and of a writable union.

use std::time::Duration;

use super::words::{plain, split};
use crate::sys::mount::{Access, Flags, Way, may_pass_through};
use crate::union::upper::{Namespace, Policy};
use crate::union::{IdMap, Ids};

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidOption {
    #[error("unknown mount option `{0}`")]
    Unknown(String),
    #[error("mount option `{name}` needs a number, not `{value}`")]
    Number { name: String, value: String },
    #[error("mount option `{name}` does not take `{value}`, but {expected}")]
    Value { name: &'static str, value: String, expected: &'static str },
    #[error("mount option `{word}`: {why}")]
    Refused { word: String, why: &'static str },
    #[error("mount option `rw`: an image mounted without an upper directory is read-only")]
    Writable,
    #[error(
        "mount option `allow_root`: what the kernel keeps in memory cannot be kept from other users; use allow_other"
    )]
    AllowRoot,
    #[error("mount option `{0}` is missing")]
    Missing(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// None: everyone when mounting as root, else the owner.
    pub access: Option<Access>,
    /// None: as the kind of mount has it.
    pub read_only: Option<bool>,
    pub devices: bool,
    pub set_id: bool,
    pub execute: bool,
    pub ids: IdMap,
    /// Shown as the source in place of the image's name.
    pub name: Option<String>,
    pub max_read: Option<u32>,
    pub max_write: Option<u32>,
    /// How long the kernel keeps what it was told. None: for ever.
    pub timeout: Option<Duration>,
    /// The kernel keeps written data for a while; a daemon that is killed loses it.
    pub writeback: bool,
    pub sync: Policy,
    /// Private attributes of an upper are `user.` ones. None: found out by trying.
    pub namespace: Option<Namespace>,
    pub access_lists: bool,
    pub xattrs: bool,
    /// A file whose attributes change is copied up without its content. None: as the kind of upper has it.
    pub metacopy: Option<bool>,
    /// A directory of the upper that the kernel moved is followed to where it was.
    pub redirects: bool,
    /// The upper is one of the store's, which only plyfs reads until it is sealed.
    pub kept: bool,
    /// `context=…` and its kin, for the kernel.
    pub labels: Vec<String>,
    /// The kernel reads by itself what is cached whole, and reads and writes what is in the upper. None: the latter, where
    /// that is allowed.
    pub passthrough: Option<bool>,
    /// Every request is told to the log.
    pub debug: bool,
    /// As they were given.
    pub text: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            access: None,
            read_only: None,
            devices: false,
            set_id: false,
            execute: true,
            ids: IdMap::default(),
            name: None,
            max_read: None,
            max_write: None,
            timeout: None,
            writeback: false,
            sync: Policy::Auto,
            namespace: None,
            access_lists: true,
            xattrs: true,
            metacopy: None,
            redirects: true,
            kept: false,
            labels: Vec::new(),
            passthrough: None,
            debug: false,
            text: String::new(),
        }
    }
}

impl Options {
    /// Each `given` is one `-o`; the last word wins. All of them must be known.
    pub fn parse<S: AsRef<str>>(given: impl IntoIterator<Item = S>) -> Result<Self, InvalidOption> {
        let mut options = Self::default();
        for words in given {
            for word in split(words.as_ref()) {
                options.take(word)?;
            }
            options.remember(words.as_ref());
        }
        Ok(options)
    }

    pub(super) fn remember(&mut self, words: &str) {
        if !self.text.is_empty() {
            self.text.push(',');
        }
        self.text.push_str(words);
    }

    /// One word, still with its escapes.
    pub(super) fn take(&mut self, word: &str) -> Result<(), InvalidOption> {
        match word.split_once('=') {
            Some((name, value)) => self.take_value(name, &plain(value)),
            None => self.take_word(word),
        }
    }

    fn take_word(&mut self, word: &str) -> Result<(), InvalidOption> {
        match word {
            // The kernel checks permissions in every mount, and no access time is ever written.
            ""
            | "default_permissions"
            | "defaults"
            | "noatime"
            | "relatime"
            | "nodiratime"
            | "atime"
            | "strictatime"
            | "diratime"
            | "lazytime" => {}
            "ro" => self.read_only = Some(true),
            "rw" => self.read_only = Some(false),
            "allow_other" => self.access = Some(Access::Everyone),
            "allow_root" => return Err(InvalidOption::AllowRoot),
            "dev" => self.devices = true,
            "nodev" => self.devices = false,
            "suid" => self.set_id = true,
            "nosuid" => self.set_id = false,
            "exec" => self.execute = true,
            "noexec" => self.execute = false,
            "passthrough" => self.passthrough = Some(true),
            "debug" => self.debug = true,
            "volatile" => self.sync = Policy::Volatile,
            "userxattr" => self.namespace = Some(Namespace::User),
            "noacl" => self.access_lists = false,
            "noxattrs" => self.xattrs = false,
            unknown => return Err(InvalidOption::Unknown(unknown.to_owned())),
        }
        Ok(())
    }

    fn take_value(&mut self, name: &str, value: &str) -> Result<(), InvalidOption> {
        match name {
            "uid" => self.ids.users = Ids::All(number(name, value)?),
            "gid" => self.ids.groups = Ids::All(number(name, value)?),
            "max_read" => self.max_read = Some(number(name, value)?),
            "max_write" => self.max_write = Some(number(name, value)?),
            "fsname" => self.name = Some(value.to_owned()),
            "timeout" => self.timeout = Some(seconds(value)?),
            "writeback" => self.writeback = number(name, value)? != 0,
            "fsync" => self.sync = sync(value)?,
            "metacopy" => self.metacopy = Some(switch("metacopy", value)?),
            "passthrough" => self.passthrough = Some(switch("passthrough", value)?),
            "context" | "fscontext" | "defcontext" | "rootcontext" => {
                self.labels.push(format!("{name}=\"{value}\""));
            }
            _ => return Err(InvalidOption::Unknown(name.to_owned())),
        }
        Ok(())
    }

    /// For what is written to: a plain user cannot make files of others, so that none are shown.
    pub fn of_a_writer(mut self) -> Self {
        if !rustix::process::geteuid().is_root() {
            self.ids.users = unless_asked(self.ids.users, rustix::process::getuid().as_raw());
            self.ids.groups = unless_asked(self.ids.groups, rustix::process::getgid().as_raw());
        }
        self
    }

    /// For an image that is mounted as it is: what was asked for must not need an upper.
    pub fn refuse_upper_words(&self) -> Result<(), InvalidOption> {
        const WHY: &str = "an image that is mounted read-only has no use for it";
        let asked = [
            ("volatile", self.sync != Policy::Auto),
            ("writeback", self.writeback),
            ("userxattr", self.namespace.is_some()),
            ("max_write", self.max_write.is_some()),
            ("timeout", self.timeout.is_some()),
            ("noacl", !self.access_lists),
            ("noxattrs", !self.xattrs),
            ("metacopy", self.metacopy.is_some()),
        ];
        match asked.iter().find(|(_, asked)| *asked) {
            _ if self.read_only == Some(false) => Err(InvalidOption::Writable),
            Some((word, _)) => Err(InvalidOption::Refused { word: (*word).to_owned(), why: WHY }),
            None => Ok(()),
        }
    }

    /// For what is written to.
    pub fn refuse_contradictions(&self) -> Result<(), InvalidOption> {
        const WHY: &str = "with `writeback` the kernel keeps what is written, and passes no file through";
        match (self.passthrough, self.writeback) {
            (Some(true), true) => Err(InvalidOption::Refused { word: "passthrough".to_owned(), why: WHY }),
            _ => Ok(()),
        }
    }

    pub(super) fn passes_what_is_written(&self) -> bool {
        !self.writeback && self.passthrough.unwrap_or_else(may_pass_through)
    }

    /// Root's mounts are like any file system's; a plain user's are the user's own.
    pub(super) fn access_by(&self, way: Way) -> Access {
        self.access.unwrap_or(match way {
            Way::Direct => Access::Everyone,
            Way::SetuidProgram => Access::Owner,
        })
    }

    pub(super) fn flags(&self, read_only: bool) -> Flags {
        Flags { read_only, devices: self.devices, set_id: self.set_id, execute: self.execute }
    }
}

fn unless_asked(ids: Ids, own: u32) -> Ids {
    match ids {
        Ids::AsStored => Ids::All(own),
        asked => asked,
    }
}

pub(super) fn number(name: &str, value: &str) -> Result<u32, InvalidOption> {
    value.parse().map_err(|_| InvalidOption::Number { name: name.to_owned(), value: value.to_owned() })
}

/// What the kernel keeps is cut to what its clock can hold.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

fn seconds(value: &str) -> Result<Duration, InvalidOption> {
    let number = value.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let wrong = || InvalidOption::Number { name: "timeout".to_owned(), value: value.to_owned() };
    number.map(|seconds| seconds.min(LONGEST)).ok_or_else(wrong)
}

fn switch(name: &'static str, value: &str) -> Result<bool, InvalidOption> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(InvalidOption::Value { name, value: other.to_owned(), expected: "on or off" }),
    }
}

fn sync(value: &str) -> Result<Policy, InvalidOption> {
    match value {
        "auto" | "1" => Ok(Policy::Auto),
        "strict" => Ok(Policy::Strict),
        "volatile" | "0" => Ok(Policy::Volatile),
        other => Err(InvalidOption::Value {
            name: "fsync",
            value: other.to_owned(),
            expected: "auto, strict or volatile",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_values_are_read_from_several_lists_and_the_last_one_wins() {
        let options = Options::parse(["ro,allow_other,suid", r"nosuid,uid=1000,fsname=a\,b"]);
        let expected = Options {
            access: Some(Access::Everyone),
            ids: IdMap { users: Ids::All(1000), groups: Ids::AsStored },
            name: Some("a,b".into()),
            read_only: Some(true),
            text: r"ro,allow_other,suid,nosuid,uid=1000,fsname=a\,b".into(),
            ..Options::default()
        };
        assert_eq!(options, Ok(expected));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        assert_eq!(Options::parse(["lazy"]), Err(InvalidOption::Unknown("lazy".into())));
        assert_eq!(Options::parse(["allow_root"]), Err(InvalidOption::AllowRoot));
        let of_image = |word: &str| Options::parse([word]).unwrap().refuse_upper_words();
        assert_eq!(of_image("rw"), Err(InvalidOption::Writable));
        assert!(
            matches!(of_image("volatile"), Err(InvalidOption::Refused { word, .. }) if word == "volatile")
        );
        assert_eq!(of_image("ro,suid"), Ok(()));
        let number = InvalidOption::Number { name: "uid".into(), value: "me".into() };
        assert_eq!(Options::parse(["uid=me"]), Err(number));
    }
}
