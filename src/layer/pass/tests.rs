use std::io::Write;

use proptest::prelude::*;

use super::samples::{bzip2, gzip, layerlike, xz, zstd};
use super::*;
use crate::layer::CHUNK;
use crate::oci::{DiffId, Digest};

/// A stream's facts, and the bytes that it gave.
fn through(blob: &[u8]) -> Result<(Streamed, Vec<u8>), Error> {
    let mut bytes = Vec::new();
    let pass = Pass { sidecar: SidecarPolicy::WhenNeeded, spool: &mut tempfile::tempfile };
    let streamed = stream(blob, pass, |more| {
        bytes.extend_from_slice(more);
        Ok(())
    })?;
    Ok((streamed, bytes))
}

fn identity_of(blob: &[u8], bytes: &[u8], codec: Codec) -> Identity {
    Identity {
        digest: Digest::of(blob),
        size: blob.len() as u64,
        diff_id: DiffId(Digest::of(bytes)),
        uncompressed: bytes.len() as u64,
        codec,
    }
}

fn grid_of(bytes: &[u8]) -> Vec<[u8; 32]> {
    bytes.chunks(CHUNK as usize).map(|chunk| *blake3::hash(chunk).as_bytes()).collect()
}

#[test]
fn a_pass_digests_what_came_in_and_what_came_out_of_it() {
    let bytes = layerlike(1, 3 << 20);
    let blobs = [
        (bytes.clone(), Codec::Plain),
        (gzip(&bytes, 6), Codec::Gzip),
        (zstd(&bytes), Codec::Zstd),
        (xz(&bytes), Codec::Xz),
        (bzip2(&bytes), Codec::Bzip2),
    ];
    for (blob, codec) in blobs {
        let (streamed, given) = through(&blob).unwrap();
        assert!(given == bytes, "{codec:?}");
        assert_eq!(streamed.identity, identity_of(&blob, &bytes, codec));
        assert!(streamed.summed.seek.chunks == grid_of(&bytes), "{codec:?}");
    }
}

#[test]
fn an_empty_blob_is_an_empty_plain_layer() {
    let (streamed, bytes) = through(&[]).unwrap();
    assert_eq!((streamed.identity, bytes), (identity_of(&[], &[], Codec::Plain), Vec::new()));
}

#[test]
fn members_follow_one_another_and_zeros_may_follow_them() {
    let (one, two) = (layerlike(1, 300_000), layerlike(2, 200_000));
    let mut blob = [gzip(&one, 6), gzip(&[], 6), gzip(&two, 1)].concat();
    blob.resize(blob.len() + 300_000, 0);
    let (_, bytes) = through(&blob).unwrap();
    assert!(bytes == [one, two].concat());
    blob.push(1);
    assert!(matches!(through(&blob), Err(Error::Garbage { .. })));
}

#[test]
fn a_header_may_hold_every_field_that_the_format_has() {
    let bytes = layerlike(1, 1000);
    let mut encoder = flate2::GzBuilder::new()
        .filename("layer.tar")
        .comment("a comment")
        .extra(vec![7; 60_000])
        .write(Vec::new(), flate2::Compression::default());
    encoder.write_all(&bytes).unwrap();
    let (_, given) = through(&encoder.finish().unwrap()).unwrap();
    assert_eq!(given, bytes);
}

#[test]
fn a_stream_that_is_cut_anywhere_is_refused() {
    let bytes = layerlike(1, 30_000);
    for blob in [gzip(&bytes, 6), zstd(&bytes), xz(&bytes), bzip2(&bytes)] {
        for length in (10..blob.len()).step_by(97).chain([blob.len() - 1]) {
            let error = through(&blob[..length]).err().map(|error| error.to_string());
            assert!(error.is_some(), "{:?} cut to {length}", Codec::detect(&blob));
        }
    }
    let cut = gzip(&bytes, 6);
    assert!(matches!(through(&cut[..cut.len() - 1]), Err(Error::Truncated { codec: "gzip", .. })));
}

#[test]
fn a_wrong_check_value_is_refused() {
    let mut blob = gzip(&layerlike(1, 30_000), 6);
    for from_end in [8, 1] {
        let at = blob.len() - from_end;
        blob[at] ^= 1;
        assert!(matches!(through(&blob), Err(Error::Data { codec: "gzip", .. })), "{from_end}");
        blob[at] ^= 1;
    }
}

#[test]
fn a_source_that_fails_is_not_a_damaged_stream() {
    struct Failing(u8);
    impl Read for Failing {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            match self.0 {
                0 => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
                turns => {
                    self.0 = turns - 1;
                    into.fill(b'B');
                    Ok(into.len())
                }
            }
        }
    }
    let pass = Pass { sidecar: SidecarPolicy::WhenNeeded, spool: &mut tempfile::tempfile };
    let error = stream(Failing(3), pass, |_| Ok(())).err();
    assert!(matches!(error, Some(Error::Read(_))), "{error:?}");
}

#[test]
fn what_the_scan_refuses_ends_the_pass() {
    let blob = gzip(&layerlike(1, 5 << 20), 1);
    let pass = Pass { sidecar: SidecarPolicy::WhenNeeded, spool: &mut tempfile::tempfile };
    let refused = stream(&blob[..], pass, |_| Err(Error::Garbage { codec: "tar", at: 7 }));
    assert!(matches!(refused, Err(Error::Garbage { codec: "tar", at: 7 })));
}

#[test]
fn a_sidecar_that_cannot_be_made_is_why_the_pass_ends() {
    let full = || Err(io::Error::from(io::ErrorKind::StorageFull));
    let pass = Pass { sidecar: SidecarPolicy::Always, spool: &mut { full } };
    let error = stream(&layerlike(1, 3 << 20)[..], pass, |_| Ok(())).err();
    assert!(matches!(error, Some(Error::Sidecar(_))), "{error:?}");
    // One that only reads: the first write fails, on the other thread.
    let read_only = || std::fs::File::open("/dev/null");
    let pass = Pass { sidecar: SidecarPolicy::Always, spool: &mut { read_only } };
    let error = stream(&layerlike(1, 30 << 20)[..], pass, |_| Ok(())).err();
    assert!(matches!(error, Some(Error::Sidecar(_))), "{error:?}");
}

#[test]
fn a_sidecar_holds_what_is_far_from_a_checkpoint() {
    let far = layerlike(1, 6 << 20);
    let (one_frame, _) = through(&zstd(&far)).unwrap();
    let copied = |streamed: Streamed| {
        streamed.sidecar.map_or(0, |file| crate::layer::sidecar::Sidecar::open(file).unwrap().len())
    };
    assert_eq!(copied(one_frame), 48 - 8);
    let frames = [zstd(&far[..3 << 20]), zstd(&far[3 << 20..])].concat();
    assert_eq!(copied(through(&frames).unwrap().0), 48 - 16);
    assert_eq!(copied(through(&gzip(&far, 6)).unwrap().0), 0);
    assert_eq!(copied(through(&xz(&far)).unwrap().0), 48);
    let (zeros, _) = through(&gzip(&vec![0; 60 << 20], 9)).unwrap();
    let gaps = zeros.summed.seek.checkpoints.windows(2).map(|two| two[1].output.get() - two[0].output.get());
    let largest = gaps.max().unwrap_or(60 << 20);
    assert_eq!(copied(zeros) > 0, largest > (8 << 20));
}

#[test]
fn a_gzip_stream_has_a_checkpoint_a_mebibyte_at_a_tenth_of_its_window() {
    let (streamed, _) = through(&gzip(&layerlike(1, 16 << 20), 6)).unwrap();
    let seek = streamed.summed.seek;
    assert!((12..=16).contains(&seek.checkpoints.len()), "{}", seek.checkpoints.len());
    assert!(seek.windows.len() < 16 * 32768 / 2, "{}", seek.windows.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_bytes_at_all_end_a_pass_without_a_panic(
        magic in proptest::sample::select(vec![
            &b""[..], &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], &[0x28, 0xb5, 0x2f, 0xfd], b"BZh91AY&SY",
            &[0xfd, b'7', b'z', b'X', b'Z', 0, 0, 4],
        ]),
        bytes in proptest::collection::vec(any::<u8>(), 0..5000),
    ) {
        let _ = through(&[magic, &bytes].concat());
    }
}
