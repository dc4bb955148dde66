//! gzip for large responses, as upstream does it: from 128 KiB on, if the client accepts `gzip`.
//!
//! The body is compressed in chunks while it is sent, so that a list of many megabytes neither
//! delays other requests nor exists twice in memory.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures_core::Stream;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use crate::body::{Body, BodyError};

/// Smaller responses are not compressed (upstream's threshold).
pub(crate) const THRESHOLD: usize = 128 * 1024;
/// Size of a chunk.
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

/// A body that compresses these bytes.
pub(crate) fn body(plain: Bytes) -> Body {
    let encoder = GzEncoder::new(Vec::with_capacity(PIECE), Compression::fast());
    StreamBody::new(Pieces { plain, encoder: Some(encoder) }).boxed_unsync()
}

/// Marks a response as compressed.
pub(crate) fn mark(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
}

/// Compresses the next chunk when the connection needs more data.
struct Pieces {
    plain: Bytes,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Stream for Pieces {
    type Item = Result<Frame<Bytes>, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.next().transpose().map(|piece| piece.map(Frame::data)))
    }
}

impl Pieces {
    fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        while let Some(encoder) = &mut self.encoder {
            if self.plain.is_empty() {
                let rest = self.encoder.take().map(GzEncoder::finish).transpose()?;
                return Ok(rest.map(Bytes::from));
            }
            let piece = self.plain.split_to(self.plain.len().min(PIECE));
            encoder.write_all(&piece)?;
            // Highly compressible data may need several chunks before there is output.
            if !encoder.get_ref().is_empty() {
                return Ok(Some(std::mem::take(encoder.get_mut()).into()));
            }
        }
        Ok(None)
    }
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
    fn compressed_chunks_decompress_to_the_input() {
        for length in [0, 1, PIECE, PIECE + 1, 3 * THRESHOLD + 17] {
            let plain: Vec<u8> =
                (0..length).map(|index| u8::try_from(index % 251).unwrap_or(0)).collect();
            let encoder = GzEncoder::new(Vec::new(), Compression::fast());
            let mut pieces = Pieces { plain: plain.clone().into(), encoder: Some(encoder) };
            let mut packed = Vec::new();
            while let Some(piece) = pieces.next().expect("memory takes everything") {
                packed.extend_from_slice(&piece);
            }
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).expect("gzip");
            assert!(unpacked == plain, "{length}");
        }
    }
}
