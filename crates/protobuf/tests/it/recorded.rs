//! Objects that Kubernetes' own test of compatibility has in JSON and in protobuf, and answers of a
//! real API server. `data/record.py` says where they come from.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mxjob_machinery::schema::kubernetes;
use mxjob_protobuf::{List, decode, encode, encode_partial, watch_frame};
use serde_json::{Value, json};

const LIMIT: usize = 3 * 1024 * 1024;
/// Kinds with fields of release 1.35 that later releases no longer have, and so the schemas
/// neither.
const WITH_REMOVED_FIELDS: &[&str] = &["Deployment", "Pod"];

#[test]
fn recorded_objects_are_read_and_written_byte_for_byte() {
    let recorded: Vec<Value> = serde_json::from_str(include_str!("../data/recorded.json")).unwrap();
    assert!(recorded.len() > 30, "{}", recorded.len());
    for object in recorded {
        let bytes = STANDARD.decode(object["protobuf"].as_str().unwrap()).unwrap();
        let mut expected = object["json"].clone();
        let (api_version, kind) =
            (expected["apiVersion"].as_str().unwrap(), expected["kind"].as_str().unwrap());
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let schema = kubernetes::kind(group, version, kind).unwrap();
        let name = kind.to_owned();
        schema.prune(&mut expected);
        assert_eq!(decode(&bytes, ("", ""), LIMIT), Ok(expected.clone()), "{name}");
        let written = encode(&expected).unwrap();
        assert_eq!(decode(&written, ("", ""), LIMIT), Ok(expected.clone()), "{name}");
        assert_eq!(written == bytes, !WITH_REMOVED_FIELDS.contains(&&*name), "{name}");
    }
}

#[test]
fn a_status_is_written_as_a_real_server_wrote_it() {
    let message = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": "NotAcceptable", "code": 406,
    });
    let expected = [
        b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Status\x12\x99\x01",
        &b"\x0a\x06\x0a\0\x12\0\x1a\0\x12\x07Failure\x1a\x74"[..],
        message.as_bytes(),
        b"\x22\x0dNotAcceptable\x30\x96\x03\x1a\0\x22\0",
    ]
    .concat();
    assert_eq!(encode(&status), Some(expected));
}

#[test]
fn what_was_not_set_is_written_as_zero_and_left_out_of_json() {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"},
    });
    let meta = b"\x0a\x01a\x12\0\x1a\0\x22\0\x2a\0\x32\0\x38\0\x42\0";
    let raw = [&[0x0a, u8::try_from(meta.len()).unwrap()][..], meta, b"\x12\0"].concat();
    let head = b"k8s\0\x0a\x1f\x0a\x16coordination.k8s.io/v1\x12\x05Lease\x12";
    let expected = [&head[..], &[u8::try_from(raw.len()).unwrap()], &raw, b"\x1a\0\x22\0"].concat();
    let bytes = encode(&lease).unwrap();
    assert_eq!(bytes, expected);
    // A message that is no pointer is always there, as it is in the JSON of a Go client.
    let mut read = lease;
    read["spec"] = json!({});
    assert_eq!(decode(&bytes, ("", ""), LIMIT), Ok(read));
}

#[test]
fn zero_is_kept_where_it_is_not_the_same_as_absent() {
    for (object, expected) in [
        (
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 0, "minReadySeconds": 0, "paused": false}}),
            json!({"replicas": 0, "strategy": {}, "template": {"metadata": {}, "spec": {}}}),
        ),
        (
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"holderIdentity": "", "leaseTransitions": 0}}),
            json!({"holderIdentity": "", "leaseTransitions": 0}),
        ),
        (
            json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 0}], "selector": {}, "externalName": ""}}),
            json!({"ports": [{"port": 0}]}),
        ),
    ] {
        let read = decode(&encode(&object).unwrap(), ("", ""), LIMIT).unwrap();
        let spec = &read["spec"];
        assert_eq!(*spec, expected);
    }
}

#[test]
fn the_kind_comes_from_the_envelope_or_from_the_request() {
    let bytes = b"k8s\0\x0a\0\x12\x05\x0a\x03\x0a\x01a";
    let expected = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    assert_eq!(decode(bytes, ("v1", "ConfigMap"), LIMIT), Ok(expected));
    // Options are in every group, and a client names its own.
    let options = json!({
        "apiVersion": "apps/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
        "preconditions": {"uid": "u"}, "propagationPolicy": "Background",
    });
    let bytes = encode(&options).unwrap();
    assert_eq!(decode(&bytes, ("", ""), LIMIT), Ok(options));
}

#[test]
fn lists_partial_objects_and_frames_have_their_envelopes() {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"},
    });
    let meta = json!({"resourceVersion": "7"});
    let mut list = List::of("v1", "ConfigMap", &meta).unwrap();
    list.push(&object);
    list.push(&object);
    let list = list.finish();
    let field = |number: u8, content: &[u8]| {
        [&[number << 3 | 2, u8::try_from(content.len()).unwrap()][..], content].concat()
    };
    let metadata = field(1, b"\x0a\x01a\x12\0\x1a\0\x22\0\x2a\0\x32\0\x38\0\x42\0");
    let item = [&metadata[..], b"\x12\x06\x0a\x01k\x12\x01v"].concat();
    let items = [field(2, &item), field(2, &item)].concat();
    let raw = [b"\x0a\x07\x0a\0\x12\x017\x1a\0", &items[..]].concat();
    let head = b"\x0a\x13\x0a\x02v1\x12\x0dConfigMapList";
    let expected = [b"k8s\0", &head[..], &field(2, &raw), b"\x1a\0\x22\0"].concat();
    assert_eq!(list, expected);

    let partial = encode_partial(&object, "meta.k8s.io/v1");
    let head = [field(1, b"meta.k8s.io/v1"), field(2, b"PartialObjectMetadata")].concat();
    let expected = [b"k8s\0", &field(1, &head)[..], &field(2, &metadata), b"\x1a\0\x22\0"].concat();
    assert_eq!(partial, expected);

    let frame = watch_frame("ADDED", &partial);
    let event = [field(1, b"ADDED"), field(2, &field(1, &partial))].concat();
    assert_eq!(frame, [&u32::try_from(event.len()).unwrap().to_be_bytes()[..], &event].concat());

    // The numbers of one version of this list are the other way round.
    for (version, expected) in [("v1", [1, 2]), ("v1beta1", [2, 1])] {
        let [first, second] = expected;
        let mut list = List::of_metadata(&format!("meta.k8s.io/{version}"), &meta);
        list.push(&object);
        let bytes = list.finish();
        let parts = [field(first, b"\x0a\0\x12\x017\x1a\0"), field(second, &metadata)];
        for part in parts {
            assert!(bytes.windows(part.len()).any(|window| window == part), "{version}");
        }
    }
}
