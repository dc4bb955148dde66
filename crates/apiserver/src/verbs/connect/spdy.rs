//! SPDY/3.1 frames, as far as port forwarding needs them: streams that the client opens, data, and
//! ends of streams.
//!
//! Header blocks are compressed with a fixed dictionary, in one compression stream for the whole
//! connection. Ours are all empty, so they are written as stored blocks without a compressor.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use flate2::{Decompress, FlushDecompress, Status};

/// The first half of every control frame: the control bit and version 3.
const CONTROL: u16 = 0x8003;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
/// The flag of a stream's last frame in one direction.
const FIN: u8 = 1;
const HEAD: usize = 8;
/// The longest accepted frame in bytes; clients write at most 64 KiB of data at a time.
const FRAME_MAX: usize = 1024 * 1024;
/// The longest decompressed header block in bytes. Clients send three short headers.
const HEADERS_MAX: usize = 16 * 1024;
/// Size of a zlib header with a dictionary: two bytes, and four of the dictionary's checksum.
const ZLIB_HEAD: usize = 6;

/// A frame from the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A new stream.
    Open { stream: u32, headers: Vec<(String, String)>, last: bool },
    /// Data on a stream.
    Data { stream: u32, data: Bytes, last: bool },
    /// The client ends a stream.
    Reset { stream: u32 },
    /// A ping to send back.
    Ping { id: u32 },
    /// The client ends the connection.
    Goodbye,
    /// A frame that needs no reaction: settings, windows, replies.
    Other,
}

/// Why the connection must end.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Error {
    /// Another version, or another protocol.
    #[error("not a SPDY/3.1 frame")]
    Version,
    /// Beyond any client's size.
    #[error("a frame or header block is too long")]
    TooLong,
    /// A truncated frame, or an invalid header block.
    #[error("an invalid frame")]
    Broken,
}

/// Parses frames.
#[derive(Debug)]
pub(super) struct Decoder {
    buffer: BytesMut,
    headers: Decompress,
    /// Bytes of the compressed stream's header that are still to come.
    head_left: usize,
}

/// Writes frames.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    /// Whether the header of the compressed stream was written.
    begun: bool,
}

// === impl Decoder ===

impl Decoder {
    pub(super) fn new() -> Result<Self, Error> {
        let mut headers = Decompress::new(false);
        // The dictionary goes in as a stored block, where the client's references expect it.
        let dictionary = dictionary();
        let mut primed = vec![0; dictionary.len()];
        let status = headers
            .decompress(&stored(&dictionary), &mut primed, FlushDecompress::Sync)
            .map_err(|_| Error::Broken)?;
        if status == Status::StreamEnd || primed != dictionary {
            return Err(Error::Broken);
        }
        Ok(Self { buffer: BytesMut::new(), headers, head_left: ZLIB_HEAD })
    }

    /// Appends received bytes.
    pub(super) fn push(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// The next complete frame.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Error> {
        let Some(&[a, b, c, d, flags, e, f, g]) = self.buffer.first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes([0, e, f, g])).unwrap_or(usize::MAX);
        if length > FRAME_MAX {
            return Err(Error::TooLong);
        }
        if self.buffer.len() < HEAD + length {
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        let payload = self.buffer.split_to(length).freeze();
        let last = flags & FIN != 0;
        let first = u32::from_be_bytes([a, b, c, d]);
        if first >> 31 == 0 {
            return Ok(Some(Frame::Data { stream: first, data: payload, last }));
        }
        if u16::from_be_bytes([a, b]) != CONTROL {
            return Err(Error::Version);
        }
        self.control(u16::from_be_bytes([c, d]), payload, last).map(Some)
    }

    fn control(&mut self, kind: u16, mut payload: Bytes, last: bool) -> Result<Frame, Error> {
        let number = |payload: &mut Bytes| payload.try_get_u32().map_err(|_| Error::Broken);
        Ok(match kind {
            SYN_STREAM => {
                let stream = number(&mut payload)? & !(1 << 31);
                // The associated stream and the priority are not used.
                number(&mut payload)?;
                payload.try_get_u16().map_err(|_| Error::Broken)?;
                Frame::Open { stream, headers: self.headers(&payload)?, last }
            }
            RST_STREAM => Frame::Reset { stream: number(&mut payload)? & !(1 << 31) },
            PING => Frame::Ping { id: number(&mut payload)? },
            GOAWAY => Frame::Goodbye,
            _ => Frame::Other,
        })
    }

    /// Decompresses and parses a header block.
    fn headers(&mut self, packed: &[u8]) -> Result<Vec<(String, String)>, Error> {
        let skipped = self.head_left.min(packed.len());
        self.head_left -= skipped;
        let mut packed = packed.get(skipped..).unwrap_or_default();
        let mut text = vec![0; HEADERS_MAX];
        let mut filled = 0;
        while !packed.is_empty() {
            let (read_before, written_before) = (self.headers.total_in(), self.headers.total_out());
            let free = text.get_mut(filled..).unwrap_or_default();
            if free.is_empty() {
                return Err(Error::TooLong);
            }
            self.headers
                .decompress(packed, free, FlushDecompress::Sync)
                .map_err(|_| Error::Broken)?;
            let count = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
            let read = count(self.headers.total_in(), read_before);
            let written = count(self.headers.total_out(), written_before);
            if read == 0 && written == 0 {
                return Err(Error::Broken);
            }
            packed = packed.get(read..).unwrap_or_default();
            filled += written;
        }
        parse_headers(text.get(..filled).unwrap_or_default()).ok_or(Error::Broken)
    }
}

fn parse_headers(mut text: &[u8]) -> Option<Vec<(String, String)>> {
    let word = |text: &mut &[u8]| -> Option<String> {
        let length = usize::try_from(text.try_get_u32().ok()?).ok()?;
        let (word, rest) = text.split_at_checked(length)?;
        *text = rest;
        String::from_utf8(word.to_vec()).ok()
    };
    let count = text.try_get_u32().ok()?;
    (0..count).map(|_| Some((word(&mut text)?, word(&mut text)?))).collect()
}

// === impl Encoder ===

impl Encoder {
    /// Accepts a stream that the client has opened.
    pub(super) fn accept(&mut self, stream: u32) -> Bytes {
        let mut payload = Vec::new();
        payload.put_u32(stream);
        if !self.begun {
            self.begun = true;
            // zlib's header: deflate, a dictionary follows, and a check value that makes it
            // divisible by 31.
            payload.put_u16(0x7820);
            payload.put_u32(adler32(&dictionary()));
        }
        payload.put_slice(&stored(&0_u32.to_be_bytes()));
        // An empty block that flushes everything before it.
        payload.put_slice(&stored(&[]));
        control(SYN_REPLY, &payload)
    }

    /// Sends a ping back.
    pub(super) fn pong(id: u32) -> Bytes {
        control(PING, &id.to_be_bytes())
    }

    /// Data on a stream. `data` is shorter than 16 MiB.
    pub(super) fn data(stream: u32, data: &[u8], last: bool) -> Bytes {
        let mut frame = BytesMut::with_capacity(HEAD + data.len());
        frame.put_u32(stream & !(1 << 31));
        put_length(&mut frame, if last { FIN } else { 0 }, data.len());
        frame.put_slice(data);
        frame.freeze()
    }
}

fn control(kind: u16, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD + payload.len());
    frame.put_u16(CONTROL);
    frame.put_u16(kind);
    put_length(&mut frame, 0, payload.len());
    frame.put_slice(payload);
    frame.freeze()
}

fn put_length(frame: &mut BytesMut, flags: u8, length: usize) {
    frame.put_u8(flags);
    frame.put_uint(length as u64, 3);
}

/// A stored deflate block that is not the last. `data` is shorter than 64 KiB.
fn stored(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    let mut block = vec![0];
    block.put_u16_le(length);
    block.put_u16_le(!length);
    block.put_slice(data);
    block
}

/// RFC 1950, section 8.2.
fn adler32(data: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    let (a, b) = data.iter().fold((1_u32, 0_u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % MODULUS;
        (a, (b + a) % MODULUS)
    });
    (b << 16) | a
}

/// The dictionary of SPDY/3 (section 2.6.10.1 of its draft): common header names with their lengths
/// as in a header block, then text that occurs in values.
fn dictionary() -> Vec<u8> {
    let mut out = Vec::with_capacity(1423);
    for word in WORDS {
        out.put_u32(u32::try_from(word.len()).unwrap_or_default());
        out.put_slice(word.as_bytes());
    }
    out.put_slice(VALUES.as_bytes());
    out
}

const WORDS: &[&str] = &[
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];
const VALUES: &str = "\
    10010120120220520630030230330430530630740240540640740840941041141241341441541641750250450520\
    3 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unautho\
    rized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unava\
    ilableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat\
    , Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+\
    xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=is\
    o-8859-1,utf-,*,enq=0.";

#[cfg(test)]
mod tests;
