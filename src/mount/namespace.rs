//! A user namespace for a plain user, in which the user is root: with the ids that /etc/subuid and /etc/subgid grant
//! through newuidmap and newgidmap, else with the user's own id alone.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Error, doing};
use crate::sys::namespace::enter_user_namespace;
use crate::sys::process::{self, Fork};

/// Which ids a new namespace has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdsOf {
    /// Root is the user, and there are no others.
    User,
    /// Root is the user, and others come from granted ranges.
    Granted { users: Vec<Range>, groups: Vec<Range> },
}

/// A line of /etc/subuid: ids that a user may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub start: u32,
    pub count: u32,
}

/// Makes this process root of a new user namespace, with a mount namespace of its own. To be called while there is
/// one thread.
pub fn become_root() -> Result<IdsOf, Error> {
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let ids = granted(user).map_err(doing("reading /etc/subuid and /etc/subgid"))?;
    match &ids {
        IdsOf::User => {
            enter_user_namespace().map_err(doing("making a user namespace"))?;
            map_one(user, group).map_err(doing("mapping the user's id"))?;
        }
        IdsOf::Granted { users, groups } => {
            let maps = [("newuidmap", words(user, users)), ("newgidmap", words(group, groups))];
            enter_mapped(&maps)?;
        }
    }
    Ok(ids)
}

impl fmt::Display for IdsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => f.write_str("one id, which is root"),
            Self::Granted { users, .. } => {
                let count: u64 = users.iter().map(|range| u64::from(range.count)).sum();
                write!(f, "root and {count} other ids")
            }
        }
    }
}

/// Which ids a user's namespace would have.
pub fn granted(user: u32) -> io::Result<IdsOf> {
    let name = user_name(user)?;
    let users = ranges(Path::new("/etc/subuid"), user, name.as_deref())?;
    let groups = ranges(Path::new("/etc/subgid"), user, name.as_deref())?;
    let programs = ["newuidmap", "newgidmap"].iter().all(|program| is_in_path(program));
    Ok(match programs && !users.is_empty() && !groups.is_empty() {
        true => IdsOf::Granted { users, groups },
        false => IdsOf::User,
    })
}

fn is_in_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|at| at.join(program).is_file()))
}

fn user_name(user: u32) -> io::Result<Option<String>> {
    let text = read_or_empty(Path::new("/etc/passwd"))?;
    let mut names = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then(|| name.to_owned())
    });
    Ok(names.next())
}

fn read_or_empty(path: &Path) -> io::Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

fn ranges(path: &Path, user: u32, name: Option<&str>) -> io::Result<Vec<Range>> {
    Ok(ranges_in(&read_or_empty(path)?, user, name))
}

fn ranges_in(text: &str, user: u32, name: Option<&str>) -> Vec<Range> {
    let number = user.to_string();
    let of_user = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let start = fields.next()?.parse().ok()?;
        let count = fields.next()?.parse().ok()?;
        (owner == number || Some(owner) == name).then_some(Range { start, count })
    };
    text.lines().filter_map(of_user).filter(|range| range.count > 0).collect()
}

/// `inside outside count`, as newuidmap takes them: root is the user, the granted ids follow.
fn words(own: u32, granted: &[Range]) -> Vec<String> {
    let mut words = vec!["0".to_owned(), own.to_string(), "1".to_owned()];
    let mut inside = 1u32;
    for range in granted {
        words.extend([inside, range.start, range.count].map(|number| number.to_string()));
        inside = inside.saturating_add(range.count);
    }
    words
}

/// The programs that map are set-user-id, which counts only outside of the namespace: a child stays there to run them.
fn enter_mapped(maps: &[(&str, Vec<String>)]) -> Result<(), Error> {
    let parent = std::process::id();
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|errno| doing("making a pipe")(errno.into()))?;
    match process::fork().map_err(doing("starting a process"))? {
        Fork::Child => {
            drop(writer);
            std::process::exit(i32::from(map_for(parent, fs::File::from(reader), maps)));
        }
        Fork::Parent { child } => {
            enter_user_namespace().map_err(doing("making a user namespace"))?;
            fs::File::from(writer).write_all(&[1]).map_err(doing("telling the mapping process"))?;
            match process::wait_for(child).map_err(doing("waiting for newuidmap"))? {
                0 => Ok(()),
                _ => Err(doing("mapping ids")(io::Error::other("newuidmap or newgidmap failed"))),
            }
        }
    }
}

/// In the child: the exit code. What the programs have to say they say on stderr themselves.
fn map_for(parent: u32, mut ready: fs::File, maps: &[(&str, Vec<String>)]) -> u8 {
    if !matches!(ready.read(&mut [0]), Ok(1)) {
        return 1;
    }
    let done = maps.iter().all(|(program, words)| {
        let mut command = Command::new(program);
        command.arg(parent.to_string()).args(words).stdin(Stdio::null()).stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    });
    u8::from(!done)
}

fn map_one(user: u32, group: u32) -> io::Result<()> {
    // Else the kernel lets nobody map a group: a group can also take rights away.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn granted_ranges_are_the_users_by_name_or_number() {
        let text = "root:1:2\nme:100000:65536\n1000:300000:10\nbroken\nme:1:x\nme:5:0\n";
        let expected = [Range { start: 100_000, count: 65_536 }, Range { start: 300_000, count: 10 }];
        assert_eq!(ranges_in(text, 1000, Some("me")), expected);
        assert_eq!(ranges_in(text, 1001, None), []);
        let words = words(1000, &expected).join(" ");
        assert_eq!(words, "0 1000 1 1 100000 65536 65537 300000 10");
    }
}
