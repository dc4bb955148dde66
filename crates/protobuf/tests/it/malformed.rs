//! Bytes that no client sends: an error, and no more memory than the limit allows.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mxjob_protobuf::{Error, decode};
use serde_json::{Value, json};

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap());
    out.extend_from_slice(content);
    out
}

fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let kind = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [b"k8s\0", &field(1, &kind)[..], &field(2, raw)].concat()
}

fn read(bytes: &[u8]) -> Result<Value, Error> {
    decode(bytes, ("v1", "ConfigMap"), 100_000)
}

#[test]
fn each_mistake_has_its_error() {
    let pod = |raw: &[u8]| body("v1", "Pod", raw);
    for (bytes, expected) in [
        (Vec::new(), Error::Empty),
        (b"{}".to_vec(), Error::Prefix),
        (b"k8s".to_vec(), Error::Prefix),
        (b"k8s\0".to_vec(), Error::EmptyBody),
        (b"k8s\0\x12".to_vec(), Error::End),
        (b"k8s\0\x12\x05\x0a".to_vec(), Error::End),
        (b"k8s\0\x10\x01".to_vec(), Error::WireType),
        (pod(b"\x08\x01"), Error::WireType),
        (pod(b"\x0f"), Error::Tag),
        (pod(b"\x00\x00"), Error::Tag),
        (pod(&field(2, b"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")), Error::Number),
        (
            body("v1", "Nope", b""),
            Error::Kind { api_version: "v1".to_owned(), kind: "Nope".to_owned() },
        ),
        (
            body("kubeflow.org/v1", "MXJob", b""),
            Error::Kind { api_version: "kubeflow.org/v1".to_owned(), kind: "MXJob".to_owned() },
        ),
    ] {
        assert_eq!(read(&bytes), Err(expected), "{bytes:x?}");
    }
}

#[test]
fn unknown_fields_and_broken_text_do_no_harm() {
    let raw = [field(1, &field(1, b"a\xff")), field(15, b"x"), b"\x50\x01".to_vec()].concat();
    let expected =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a\u{fffd}"}});
    assert_eq!(read(&body("v1", "ConfigMap", &raw)), Ok(expected));
}

#[test]
fn parts_of_a_message_are_merged_and_the_last_value_counts() {
    let meta = [field(1, &field(1, b"a")), field(1, &field(3, b"n")), field(1, &field(1, b"b"))];
    let expected = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b", "namespace": "n"},
    });
    assert_eq!(read(&body("v1", "ConfigMap", &meta.concat())), Ok(expected));
}

#[test]
fn many_small_parts_reach_the_limit() {
    let containers = field(2, &[0x12, 0x00].repeat(1_000_000));
    assert_eq!(read(&body("v1", "Pod", &containers)), Err(Error::TooLarge(100_000)));
    let groups = field(2, &field(14, &field(4, &vec![1; 1_000_000])));
    assert_eq!(read(&body("v1", "Pod", &groups)), Err(Error::TooLarge(100_000)));
    let groups = field(2, &field(14, &field(4, &[1, 2, 3])));
    let pod = read(&body("v1", "Pod", &groups)).unwrap();
    assert_eq!(pod["spec"]["securityContext"]["supplementalGroups"], json!([1, 2, 3]));
}

#[test]
fn deep_schemas_are_an_error_and_no_overflow() {
    let mut schema = Vec::new();
    for _ in 0..10_000 {
        // `not`: field 28 needs two bytes of tag.
        let inner = field(0, &schema);
        schema = [&[0xe2, 0x01], &inner[1..]].concat();
    }
    let version = field(4, &field(1, &schema));
    let definition = field(2, &field(7, &version));
    let bytes = body("apiextensions.k8s.io/v1", "CustomResourceDefinition", &definition);
    assert_eq!(decode(&bytes, ("", ""), 3 << 20), Err(Error::Depth));
}

#[test]
fn no_change_of_a_recorded_object_is_a_panic() {
    let recorded: Vec<Value> = serde_json::from_str(include_str!("../data/recorded.json")).unwrap();
    for object in recorded {
        let good = STANDARD.decode(object["protobuf"].as_str().unwrap()).unwrap();
        // The pod's and the deployment's are long, and their parts are those of the others.
        for end in (0..good.len()).step_by(good.len() / 150 + 1) {
            let _ = read(&good[..end]);
            for bit in [0, 1, 3, 7] {
                let mut broken = good.clone();
                broken[end] ^= 1 << bit;
                let _ = read(&broken);
            }
        }
    }
}
