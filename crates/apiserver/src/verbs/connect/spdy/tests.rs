//! Frames as a client writes them.

use super::*;

/// The client's first stream: zlib compresses the block with the dictionary.
fn first_block() -> Vec<u8> {
    hex(
        "78f9e3c6a7c202253a703a2b294a4dcc851625aca9a0808614cb45e01c6061606100a4398b20d198094ade8c0600000000ffff",
    )
}

/// The client's second stream, in the same compression stream.
fn second_block() -> Vec<u8> {
    hex("c2aa19540e2512d60b000000ffff")
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn open(stream: u32, block: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.put_u32(stream);
    payload.put_u32(0);
    payload.put_u16(0);
    payload.put_slice(block);
    control(SYN_STREAM, &payload).to_vec()
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_dictionary_is_the_one_of_the_protocol() {
    assert_eq!(dictionary().len(), 1423);
    assert_eq!(adler32(&dictionary()), 0xe3c6_a7c2);
}

#[test]
fn streams_are_opened_with_headers_byte_by_byte() {
    let mut decoder = Decoder::new().unwrap();
    let mut found = Vec::new();
    for byte in [open(1, &first_block()), open(3, &second_block())].concat() {
        decoder.push(&[byte]);
        found.extend(decoder.next().unwrap());
    }
    let headers = |kind| pairs(&[("streamtype", kind), ("port", "8080"), ("requestid", "0")]);
    assert_eq!(
        found,
        [
            Frame::Open { stream: 1, headers: headers("error"), last: false },
            Frame::Open { stream: 3, headers: headers("data"), last: false },
        ]
    );
}

#[test]
fn data_pings_and_ends_are_read() {
    let mut decoder = Decoder::new().unwrap();
    decoder.push(&Encoder::data(5, b"abc", true));
    decoder.push(&Encoder::pong(7));
    decoder.push(&control(RST_STREAM, &[0, 0, 0, 9, 0, 0, 0, 5]));
    decoder.push(&control(4, &[0; 4]));
    decoder.push(&control(GOAWAY, &[0; 8]));
    let data = Bytes::from_static(b"abc");
    for want in [
        Some(Frame::Data { stream: 5, data, last: true }),
        Some(Frame::Ping { id: 7 }),
        Some(Frame::Reset { stream: 9 }),
        Some(Frame::Other),
        Some(Frame::Goodbye),
        None,
    ] {
        assert_eq!(decoder.next().unwrap(), want);
    }
}

#[test]
fn invalid_frames_are_refused() {
    let check = |bytes: &[u8], want| {
        let mut decoder = Decoder::new().unwrap();
        decoder.push(bytes);
        assert_eq!(decoder.next(), Err(want), "{bytes:?}");
    };
    check(&[0x80, 2, 0, 1, 0, 0, 0, 0], Error::Version);
    check(&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff], Error::TooLong);
    check(&control(SYN_STREAM, &[0, 0]), Error::Broken);
    check(&open(1, &[0x78, 0x20, 0, 0, 0, 0, 0xff, 0xff]), Error::Broken);
    check(&open(1, &[]), Error::Broken);
}

#[test]
fn replies_are_a_zlib_stream_with_one_head() {
    let mut encoder = Encoder::default();
    let first = encoder.accept(1);
    assert_eq!(
        first.as_ref(),
        hex("8003000200000018000000017820e3c6a7c2000400fbff00000000000000ffff")
    );
    let second = encoder.accept(3);
    assert_eq!(second.as_ref(), hex("800300020000001200000003000400fbff00000000000000ffff"));
}

#[test]
fn no_changed_byte_stops_the_decoder() {
    let stream = [
        open(1, &first_block()),
        open(3, &second_block()),
        control(PING, &7_u32.to_be_bytes()).to_vec(),
        vec![0, 0, 0, 3, FIN, 0, 0, 2, b'h', b'i'],
    ]
    .concat();
    for at in 0..stream.len() {
        for bit in 0..8 {
            let mut changed = stream.clone();
            changed[at] ^= 1 << bit;
            let mut decoder = Decoder::new().unwrap();
            decoder.push(&changed);
            // An error ends the connection; the frames before it are none the worse.
            let frames = std::iter::from_fn(|| decoder.next().unwrap_or_default()).count();
            assert!(frames <= 4, "bit {bit} of byte {at}");
        }
    }
}
