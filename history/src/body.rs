//! Bodies as they are kept: compressed, and named by their content, so that each shape of an event is kept once.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// Names a body among those of its event: the first 8 bytes of its SHA-256, as a signed integer for databases.
pub(crate) type Shape = i64;

/// Largest body that is unpacked, in bytes: above any body that a broker takes.
const LARGEST: usize = 64 << 20;

pub(crate) fn shape(body: &[u8]) -> Shape {
    let digest = Sha256::digest(body);
    let (first, _) = digest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    i64::from_be_bytes(*first)
}

/// LZ4, with the length before it: fast rather than small, since every body passes here once.
pub(crate) fn pack(body: &[u8]) -> Vec<u8> {
    lz4_flex::block::compress_prepend_size(body)
}

/// None for bytes that are no packed body.
pub(crate) fn unpack(packed: &[u8]) -> Option<Bytes> {
    let (size, _) = lz4_flex::block::uncompressed_size(packed).ok().filter(|(size, _)| *size <= LARGEST)?;
    let body = lz4_flex::block::decompress_size_prepended(packed).ok()?;
    (body.len() == size).then(|| body.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_body_comes_back_as_it_was(body in proptest::collection::vec(any::<u8>(), 0..5_000)) {
            prop_assert_eq!(unpack(&pack(&body)).unwrap(), body);
        }

        #[test]
        fn no_bytes_make_unpacking_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&bytes);
        }
    }

    #[test]
    fn equal_bodies_have_one_shape() {
        assert_eq!(shape(b"{}"), shape(b"{}"));
        assert_ne!(shape(b"{}"), shape(b"[]"));
    }
}
