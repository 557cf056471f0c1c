//! Who runs in a container: a user and groups by name or number, looked up in the image's own /etc/passwd and
//! /etc/group, as docker and podman do it. The files are the image's, so nothing in them is trusted.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::path::Path;

use super::Error;
use crate::sys::beneath;

/// Far more than any image has.
const LARGEST_FILE: u64 = 4 << 20;
const MOST_GROUPS: usize = 1000;
/// What the kernel takes as an id; the last one means none.
const LAST_ID: u32 = u32::MAX - 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user: u32,
    pub group: u32,
    /// Supplementary ones.
    pub groups: Vec<u32>,
    pub home: String,
}

#[derive(Debug)]
struct Account {
    name: String,
    user: u32,
    group: u32,
    home: String,
}

#[derive(Debug)]
struct Group {
    name: String,
    id: u32,
    members: Vec<String>,
}

impl Identity {
    pub const ROOT: Self = Self { user: 0, group: 0, groups: Vec::new(), home: String::new() };

    /// `wanted` is `USER[:GROUP]`, each a name or a number; nothing means root.
    pub fn find(root: BorrowedFd<'_>, wanted: &str, extra: &[String]) -> Result<Self, Error> {
        let accounts =
            lines(root, "/etc/passwd")?.iter().filter_map(|line| account(line)).collect::<Vec<_>>();
        let groups = lines(root, "/etc/group")?.iter().filter_map(|line| group(line)).collect::<Vec<_>>();
        resolve(wanted, extra, &accounts, &groups)
            .map_err(|why| Error::User { wanted: wanted.to_owned(), why })
    }
}

fn lines(root: BorrowedFd<'_>, path: &str) -> Result<Vec<String>, Error> {
    let in_image = |source| Error::InImage { path: path.to_owned(), source };
    match beneath::open_file_rooted(root, Path::new(path)).map_err(in_image)? {
        Some(file) => read_lines(file).map_err(in_image),
        None => Ok(Vec::new()),
    }
}

fn read_lines(file: File) -> io::Result<Vec<String>> {
    let mut bytes = Vec::new();
    if file.take(LARGEST_FILE).read_to_end(&mut bytes)? as u64 == LARGEST_FILE {
        return Err(io::Error::other("it is too large"));
    }
    Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
}

/// `name:password:user:group:comment:home:shell`; a line that is none says nothing.
fn account(line: &str) -> Option<Account> {
    let mut fields = line.trim().split(':');
    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
    let user = fields.nth(1)?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let home = fields.nth(1).unwrap_or_default().to_owned();
    Some(Account { name, user, group, home })
}

/// `name:password:group:member,member`.
fn group(line: &str) -> Option<Group> {
    let mut fields = line.trim().split(':');
    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
    let id = fields.nth(1)?.parse().ok()?;
    let members = fields.next().unwrap_or_default().split(',').map(str::to_owned).collect();
    Some(Group { name, id, members })
}

fn resolve(
    wanted: &str,
    extra: &[String],
    accounts: &[Account],
    groups: &[Group],
) -> Result<Identity, String> {
    let (user, group) = wanted.split_once(':').unwrap_or((wanted, ""));
    let user = if user.is_empty() { "0" } else { user };
    let number = id(user);
    let found = accounts.iter().find(|account| account.name == user || Some(account.user) == number);
    let mut identity = match (found, number) {
        (Some(account), _) => Identity {
            user: account.user,
            group: account.group,
            groups: Vec::new(),
            home: account.home.clone(),
        },
        (None, Some(user)) => Identity { user, group: 0, groups: Vec::new(), home: String::new() },
        (None, None) => return Err("the image's /etc/passwd has no such user".to_owned()),
    };
    if !wanted.contains(':') {
        let name = found.map(|account| account.name.as_str());
        let is_member = |group: &&Group| name.is_some_and(|name| group.members.iter().any(|one| one == name));
        identity.groups = groups.iter().filter(is_member).map(|group| group.id).take(MOST_GROUPS).collect();
    } else if !group.is_empty() {
        identity.group = group_id(group, groups)?;
    }
    for group in extra {
        identity.groups.push(group_id(group, groups)?);
    }
    // Its own group too: a process that leaves it must still be held to what it may not do.
    identity.groups.insert(0, identity.group);
    let mut seen = HashSet::new();
    identity.groups.retain(|&group| seen.insert(group));
    if identity.home.is_empty() {
        "/".clone_into(&mut identity.home);
    }
    let out_of_range =
        identity.groups.iter().chain([&identity.user, &identity.group]).any(|&id| id > LAST_ID);
    match out_of_range {
        true => Err("the id is out of range".to_owned()),
        false => Ok(identity),
    }
}

fn id(text: &str) -> Option<u32> {
    text.parse().ok()
}

fn group_id(wanted: &str, groups: &[Group]) -> Result<u32, String> {
    let number = id(wanted);
    let found = groups.iter().find(|group| group.name == wanted || Some(group.id) == number);
    found
        .map(|group| group.id)
        .or(number)
        .ok_or_else(|| format!("the image's /etc/group has no group {wanted}"))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1000:100::/srv/app:/bin/sh\n99:x:7:7::/seven:\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,app\nusers:x:100:app\naudio:x:29:app,other\n";

    fn found(wanted: &str) -> Result<(u32, u32, Vec<u32>, String), String> {
        let accounts: Vec<_> = PASSWD.lines().filter_map(account).collect();
        let groups: Vec<_> = GROUP.lines().filter_map(group).collect();
        let identity = resolve(wanted, &[], &accounts, &groups)?;
        Ok((identity.user, identity.group, identity.groups, identity.home))
    }

    #[test]
    fn users_and_groups_are_found_by_name_and_by_number() {
        for (wanted, expected) in [
            ("", (0, 0, vec![0, 10], "/root")),
            ("app", (1000, 100, vec![100, 10, 29], "/srv/app")),
            ("1000", (1000, 100, vec![100, 10, 29], "/srv/app")),
            ("app:wheel", (1000, 10, vec![10], "/srv/app")),
            ("app:4711", (1000, 4711, vec![4711], "/srv/app")),
            ("4711", (4711, 0, vec![0], "/")),
            ("4711:audio", (4711, 29, vec![29], "/")),
            (":wheel", (0, 10, vec![10], "/root")),
            ("99", (7, 7, vec![7], "/seven")),
        ] {
            let (user, group, groups, home) = expected;
            assert_eq!(found(wanted), Ok((user, group, groups, home.to_owned())), "{wanted}");
        }
    }

    #[test]
    fn what_is_not_there_is_said() {
        assert_eq!(found("nobody"), Err("the image's /etc/passwd has no such user".to_owned()));
        assert_eq!(found("app:nogroup"), Err("the image's /etc/group has no group nogroup".to_owned()));
        assert_eq!(found("4294967295"), Err("the id is out of range".to_owned()));
        assert_eq!(found("-1"), Err("the image's /etc/passwd has no such user".to_owned()));
    }

    #[test]
    fn a_link_of_the_image_leads_to_a_file_of_the_image_and_a_device_is_none() {
        let image = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(image.path().join("etc")).unwrap();
        std::fs::write(image.path().join("accounts"), "app:x:5:5::/a:\n").unwrap();
        std::os::unix::fs::symlink("/accounts", image.path().join("etc/passwd")).unwrap();
        let root = beneath::root(image.path()).unwrap();
        assert_eq!(Identity::find(root.as_fd(), "app", &[]).unwrap().user, 5);
        std::fs::remove_file(image.path().join("etc/passwd")).unwrap();
        std::fs::create_dir(image.path().join("etc/passwd")).unwrap();
        let refused = Identity::find(root.as_fd(), "app", &[]).unwrap_err().to_string();
        assert_eq!(refused, "/etc/passwd of the image: it is not a regular file");
    }
}
