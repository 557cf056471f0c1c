//! An inode as `ls -l` and `--json` show it.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::cli::output::printable;
use crate::layer::{Id, Index, Kind, Time, index};

/// `drwxr-xr-x`.
pub fn mode(kind: Kind, mode: u16) -> String {
    let first = match kind {
        Kind::Directory => 'd',
        Kind::File | Kind::LowerLink | Kind::Whiteout => '-',
        Kind::Symlink => 'l',
        Kind::CharDevice => 'c',
        Kind::BlockDevice => 'b',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
    };
    let bit = |at: u16, letter: char| if mode & at != 0 { letter } else { '-' };
    let special = |execute: u16, special: u16, letter: char| match (mode & execute != 0, mode & special != 0)
    {
        (true, true) => letter,
        (false, true) => letter.to_ascii_uppercase(),
        (true, false) => 'x',
        (false, false) => '-',
    };
    [
        first,
        bit(0o400, 'r'),
        bit(0o200, 'w'),
        special(0o100, 0o4000, 's'),
        bit(0o040, 'r'),
        bit(0o020, 'w'),
        special(0o010, 0o2000, 's'),
        bit(0o004, 'r'),
        bit(0o002, 'w'),
        special(0o001, 0o1000, 't'),
    ]
    .iter()
    .collect()
}

/// The word for `--json`.
pub fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Directory => "directory",
        Kind::File | Kind::LowerLink | Kind::Whiteout => "file",
        Kind::Symlink => "symlink",
        Kind::CharDevice => "char",
        Kind::BlockDevice => "block",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
    }
}

/// Of a device its numbers, else the bytes.
pub fn size(tree: &Index, id: Id) -> String {
    let inode = tree.inode(id);
    match inode.kind() {
        Kind::CharDevice | Kind::BlockDevice => {
            let (major, minor) = inode.rdev();
            format!("{major}, {minor}")
        }
        _ => inode.size().to_string(),
    }
}

/// To the minute, here.
pub fn minute(time: Time) -> String {
    timestamp(time).to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// A tar can say any number; one that no calendar has is shown as the nearest that one has.
fn timestamp(time: Time) -> Timestamp {
    let nearest = if time.seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::new(time.seconds, i32::try_from(time.nanoseconds).unwrap_or(0)).unwrap_or(nearest)
}

pub fn json(tree: &Index, id: Id, path: &[u8]) -> Result<Value, index::Error> {
    let inode = tree.inode(id);
    let mut value = json!({
        "Path": printable(path),
        "Type": kind_word(inode.kind()),
        "Mode": format!("{:04o}", inode.mode()),
        "Uid": inode.uid(),
        "Gid": inode.gid(),
        "Size": inode.size(),
        "Mtime": timestamp(inode.mtime()).to_string(),
        "Links": inode.nlink(),
        "Layer": inode.layer(),
    });
    if inode.kind() == Kind::Symlink {
        value["Target"] = printable(tree.target(id)?).into();
    }
    if matches!(inode.kind(), Kind::CharDevice | Kind::BlockDevice) {
        value["Device"] = size(tree, id).replace(", ", ":").into();
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_ls_does() {
        assert_eq!(mode(Kind::Directory, 0o1777), "drwxrwxrwt");
        assert_eq!(mode(Kind::File, 0o4755), "-rwsr-xr-x");
        assert_eq!(mode(Kind::File, 0o6644), "-rwSr-Sr--");
        assert_eq!(mode(Kind::Symlink, 0o777), "lrwxrwxrwx");
    }

    #[test]
    fn any_time_can_be_shown() {
        let time = |seconds| timestamp(Time { seconds, nanoseconds: 0 }).to_string();
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert!(time(i64::MAX).starts_with("9999-"));
        assert!(time(i64::MIN).starts_with("-009999-"));
    }
}
