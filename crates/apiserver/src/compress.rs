//! gzip for large responses, as upstream does it: from 128 KiB on, if the client accepts `gzip`.
//!
//! The whole body is compressed before it is sent: what waits for a slow client is small, and needs
//! no compressor. Answers that are so large are made away from the threads that serve connections.

use std::io::Write;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, header};

use crate::body::Body;

/// Smaller responses are not compressed (upstream's threshold).
pub(crate) const THRESHOLD: usize = 128 * 1024;
/// Room for the beginning of the output.
const PIECE: usize = 64 * 1024;

/// Whether the client accepts gzip. Like upstream, only the bare word counts: neither `gzip;q=0`
/// nor `gzip;q=1` does.
#[must_use]
pub(crate) fn accepted(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|token| token.trim() == "gzip")
}

/// Compresses these parts, one after the other.
pub(crate) fn pack(parts: &[&[u8]]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(PIECE), Compression::fast());
    // Writing to memory cannot fail.
    for part in parts {
        let _ = encoder.write_all(part);
    }
    encoder.finish().unwrap_or_default().into()
}

/// Marks a response as compressed.
pub(crate) fn mark(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn only_the_bare_word_requests_gzip() {
        for (line, want) in [
            ("gzip", true),
            ("gzip, deflate, br", true),
            ("br,gzip ", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("x-gzip", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, line.parse().expect("a header value"));
            assert_eq!(accepted(&headers), want, "{line}");
        }
        assert!(!accepted(&HeaderMap::new()));
    }

    #[test]
    fn compressed_parts_decompress_to_the_input() {
        for length in [0, 1, PIECE, PIECE + 1, 3 * THRESHOLD + 17] {
            let plain: Vec<u8> =
                (0..length).map(|index| u8::try_from(index % 251).unwrap_or(0)).collect();
            let packed = pack(&[&plain, b"\n"]);
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).expect("gzip");
            assert!(unpacked == [&plain[..], b"\n"].concat(), "{length}");
        }
    }
}
