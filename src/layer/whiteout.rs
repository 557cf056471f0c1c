//! The names by which a layer says what it hides: `.wh.NAME` and `.wh..wh..opq`.

use super::tar::shown;

/// What every marker's name starts with.
const PREFIX: &[u8] = b".wh.";
/// What AUFS left in layers begins so, and so does the opaque marker.
const METADATA: &[u8] = b".wh..wh.";
pub(super) const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a name that starts with `.wh.` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker<'a> {
    /// Hides this name in the layers below.
    Whiteout(&'a [u8]),
    /// Hides all that the layers below have in its directory.
    Opaque,
    /// AUFS's own files; nothing shows them.
    Metadata,
}

/// It would hide no name, or its own directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is a whiteout of nothing")]
pub struct InvalidMarker(String);

/// Whether a name is a marker, if only a broken one.
pub fn is_marker(name: &[u8]) -> bool {
    name.starts_with(PREFIX)
}

/// The marker that `name` is; `None`: it is an ordinary name. `decode(&encode(n)) == Ok(Some(Whiteout(n)))` for every
/// name `n` that is itself no marker.
pub fn decode(name: &[u8]) -> Result<Option<Marker<'_>>, InvalidMarker> {
    let Some(hidden) = name.strip_prefix(PREFIX) else { return Ok(None) };
    match hidden {
        _ if name == OPAQUE => Ok(Some(Marker::Opaque)),
        _ if name.starts_with(METADATA) => Ok(Some(Marker::Metadata)),
        b"" | b"." | b".." => Err(InvalidMarker(shown(name))),
        _ => Ok(Some(Marker::Whiteout(hidden))),
    }
}

/// The name of the marker that hides `name`.
pub fn encode(name: &[u8]) -> Vec<u8> {
    [PREFIX, name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn markers_are_told_by_their_names() {
        assert_eq!(decode(b".wh.a"), Ok(Some(Marker::Whiteout(b"a"))));
        assert_eq!(decode(b".wh.wh.a"), Ok(Some(Marker::Whiteout(b"wh.a"))));
        assert_eq!(decode(b".wh..wh..opq"), Ok(Some(Marker::Opaque)));
        for name in [&b".wh..wh.plnk"[..], b".wh..wh.a", b".wh..wh.", b".wh..wh..opq2"] {
            assert_eq!(decode(name), Ok(Some(Marker::Metadata)), "{}", shown(name));
        }
        for name in [&b"a"[..], b".WH.a", "wh.a".as_bytes(), b".wh", b".wha"] {
            assert_eq!(decode(name), Ok(None), "{}", shown(name));
        }
        for name in [&b".wh."[..], b".wh..", b".wh..."] {
            assert_eq!(decode(name), Err(InvalidMarker(shown(name))));
        }
    }

    proptest! {
        #[test]
        fn a_whiteout_decodes_to_the_name_it_hides(name in proptest::collection::vec(1_u8.., 1..256)) {
            prop_assume!(!is_marker(&name) && name != b"." && name != b"..");
            let encoded = encode(&name);
            prop_assert_eq!(decode(&encoded), Ok(Some(Marker::Whiteout(&name))));
        }
    }
}
