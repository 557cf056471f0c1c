//! Access control lists: what a new object gets of its directory's default list.

/// The kernel's form: a version, then entries of tag, permissions and id.
const VERSION: [u8; 4] = 2u32.to_le_bytes();
const ENTRY: usize = 8;
const USER_OBJECT: u16 = 0x01;
const GROUP_OBJECT: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

pub(super) const ACCESS: &[u8] = b"system.posix_acl_access";
pub(super) const DEFAULT: &[u8] = b"system.posix_acl_default";

/// What a new object has of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inherited {
    pub permissions: u16,
    /// `None` where the mode says all that the list does.
    pub access: Option<Vec<u8>>,
}

/// The mode and the list of an object that is made with `permissions` in a directory with this default list. The umask
/// has no part in it. `None` for what is no list.
pub(super) fn inherit(default: &[u8], permissions: u16) -> Option<Inherited> {
    let mut entries = parse(default)?;
    let has_mask = entries.iter().any(|(tag, ..)| *tag == MASK);
    let (mut mode, mut is_plain) = (permissions & !0o777, true);
    for (tag, granted, _) in &mut entries {
        let shift = match *tag {
            USER_OBJECT => 6,
            MASK => 3,
            GROUP_OBJECT if !has_mask => 3,
            OTHER => 0,
            _ => {
                is_plain &= *tag == GROUP_OBJECT;
                continue;
            }
        };
        is_plain &= *tag != MASK;
        *granted &= permissions >> shift & 7;
        mode |= *granted << shift;
    }
    Some(Inherited { permissions: mode, access: (!is_plain).then(|| encode(&entries)) })
}

fn parse(list: &[u8]) -> Option<Vec<(u16, u16, u32)>> {
    let entries = list.strip_prefix(&VERSION)?;
    if entries.is_empty() || entries.len() % ENTRY != 0 {
        return None;
    }
    let entry = |bytes: &[u8]| {
        let [t, u, p, q, id @ ..] = bytes.try_into().ok().map(|b: [u8; ENTRY]| b)?;
        Some((u16::from_le_bytes([t, u]), u16::from_le_bytes([p, q]), u32::from_le_bytes(id)))
    };
    entries.chunks_exact(ENTRY).map(entry).collect()
}

fn encode(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut list = VERSION.to_vec();
    for (tag, granted, id) in entries {
        list.extend_from_slice(&tag.to_le_bytes());
        list.extend_from_slice(&granted.to_le_bytes());
        list.extend_from_slice(&id.to_le_bytes());
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: u32 = u32::MAX;
    const USER: u16 = 0x02;

    #[test]
    fn a_short_list_is_nothing_but_a_mode() {
        let list = encode(&[(USER_OBJECT, 7, NONE), (GROUP_OBJECT, 5, NONE), (OTHER, 0, NONE)]);
        assert_eq!(inherit(&list, 0o2666), Some(Inherited { permissions: 0o2640, access: None }));
    }

    #[test]
    fn a_mask_stands_where_the_group_does_in_the_mode() {
        let named = |mask, other, own| {
            encode(&[
                (USER_OBJECT, own, NONE),
                (USER, 7, 1000),
                (GROUP_OBJECT, 5, NONE),
                (MASK, mask, NONE),
                (OTHER, other, NONE),
            ])
        };
        let expected = Inherited { permissions: 0o640, access: Some(named(4, 0, 6)) };
        assert_eq!(inherit(&named(7, 4, 7), 0o640), Some(expected));
    }

    #[test]
    fn what_is_no_list_is_not_inherited() {
        for bytes in [&b""[..], b"\x02\0\0\0", b"\x01\0\0\0\x01\0\x07\0\0\0\0\0", b"\x02\0\0\0\x01\0\x07"] {
            assert_eq!(inherit(bytes, 0o644), None);
        }
    }
}
