//! The words after `-o`: what mount(8) and FUSE file systems understand, as far as a read-only mount has them.

use crate::sys::mount::{Access, Flags, Way};
use crate::union::{IdMap, Ids};

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidOption {
    #[error("unknown mount option `{0}`")]
    Unknown(String),
    #[error("mount option `{name}` needs a number, not `{value}`")]
    Number { name: String, value: String },
    #[error("mount option `rw`: an image mounted without an upper directory is read-only")]
    Writable,
    #[error(
        "mount option `allow_root`: what the kernel keeps in memory cannot be kept from other users; use allow_other"
    )]
    AllowRoot,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// None: everyone when mounting as root, else the owner.
    pub access: Option<Access>,
    pub devices: bool,
    pub set_id: bool,
    pub execute: bool,
    pub ids: IdMap,
    /// Shown as the source in place of the image's name.
    pub name: Option<String>,
    pub max_read: Option<u32>,
    /// Every request is told to the log.
    pub debug: bool,
    /// As they were given.
    pub text: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            access: None,
            devices: false,
            set_id: false,
            execute: true,
            ids: IdMap::default(),
            name: None,
            max_read: None,
            debug: false,
            text: String::new(),
        }
    }
}

impl Options {
    /// Each `given` is one `-o`: words with commas between them, `\,` for a comma in a value; the last word wins.
    pub fn parse<S: AsRef<str>>(given: impl IntoIterator<Item = S>) -> Result<Self, InvalidOption> {
        let mut options = Self::default();
        for words in given {
            for word in split(words.as_ref()) {
                options.take(&word)?;
            }
            if !options.text.is_empty() {
                options.text.push(',');
            }
            options.text.push_str(words.as_ref());
        }
        Ok(options)
    }

    fn take(&mut self, word: &str) -> Result<(), InvalidOption> {
        match word.split_once('=') {
            Some((name, value)) => self.take_value(name, value),
            None => self.take_word(word),
        }
    }

    fn take_word(&mut self, word: &str) -> Result<(), InvalidOption> {
        match word {
            // A read-only mount whose permissions the kernel checks is all there is.
            "" | "ro" | "default_permissions" | "defaults" | "noatime" | "relatime" | "nodiratime" => {}
            "allow_other" => self.access = Some(Access::Everyone),
            "allow_root" => return Err(InvalidOption::AllowRoot),
            "dev" => self.devices = true,
            "nodev" => self.devices = false,
            "suid" => self.set_id = true,
            "nosuid" => self.set_id = false,
            "exec" => self.execute = true,
            "noexec" => self.execute = false,
            "debug" => self.debug = true,
            "rw" => return Err(InvalidOption::Writable),
            unknown => return Err(InvalidOption::Unknown(unknown.to_owned())),
        }
        Ok(())
    }

    fn take_value(&mut self, name: &str, value: &str) -> Result<(), InvalidOption> {
        match name {
            "uid" => self.ids.users = Ids::All(number(name, value)?),
            "gid" => self.ids.groups = Ids::All(number(name, value)?),
            "max_read" => self.max_read = Some(number(name, value)?),
            "fsname" => self.name = Some(value.to_owned()),
            _ => return Err(InvalidOption::Unknown(name.to_owned())),
        }
        Ok(())
    }

    /// Root's mounts are like any file system's; a plain user's are the user's own.
    pub(super) fn access_by(&self, way: Way) -> Access {
        self.access.unwrap_or(match way {
            Way::Direct => Access::Everyone,
            Way::SetuidProgram => Access::Owner,
        })
    }

    pub(super) fn flags(&self) -> Flags {
        Flags { read_only: true, devices: self.devices, set_id: self.set_id, execute: self.execute }
    }
}

fn number(name: &str, value: &str) -> Result<u32, InvalidOption> {
    value.parse().map_err(|_| InvalidOption::Number { name: name.to_owned(), value: value.to_owned() })
}

fn split(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, words.last_mut()) {
            (',', _) => words.push(String::new()),
            ('\\', Some(word)) => word.extend(characters.next()),
            (other, Some(word)) => word.push(other),
            (_, None) => {}
        }
    }
    words
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
            text: r"ro,allow_other,suid,nosuid,uid=1000,fsname=a\,b".into(),
            ..Options::default()
        };
        assert_eq!(options, Ok(expected));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        assert_eq!(Options::parse(["lazy"]), Err(InvalidOption::Unknown("lazy".into())));
        assert_eq!(Options::parse(["rw"]), Err(InvalidOption::Writable));
        assert_eq!(Options::parse(["allow_root"]), Err(InvalidOption::AllowRoot));
        let number = InvalidOption::Number { name: "uid".into(), value: "me".into() };
        assert_eq!(Options::parse(["uid=me"]), Err(number));
    }
}
