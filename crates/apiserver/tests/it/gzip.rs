//! Compression of large responses.

use std::io::Read;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use mxjob_apiserver::Body;
use serde_json::Value;
use tower_service::Service;

use crate::server::{Server, config_map};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn get(server: &Server, path: &str, encoding: Option<&str>) -> (http::HeaderMap, Vec<u8>) {
    let mut request = http::Request::builder().uri(path).header("authorization", "Bearer good");
    if let Some(encoding) = encoding {
        request = request.header("accept-encoding", encoding);
    }
    let request = request.body(Full::new(bytes::Bytes::new())).unwrap();
    let response: http::Response<Body> = server.api.clone().call(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let (parts, body) = response.into_parts();
    (parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn only_large_responses_are_compressed_and_only_on_request() {
    let server = Arc::new(Server::start().await);
    for index in 0..40 {
        let mut map = config_map(&format!("m{index}"));
        map["data"] = serde_json::json!({"text": "word ".repeat(1000)});
        server.make(MAPS, &map).await;
    }
    let (headers, plain) = get(&server, MAPS, None).await;
    assert!(headers.get("content-encoding").is_none() && plain.len() > 128 * 1024);
    for encoding in ["gzip", "gzip, deflate, br"] {
        let (headers, packed) = get(&server, MAPS, Some(encoding)).await;
        assert_eq!(
            (&headers["content-encoding"], &headers["vary"]),
            (&"gzip".parse().unwrap(), &"Accept-Encoding".parse().unwrap())
        );
        assert!(packed.len() < plain.len() / 4);
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&unpacked).unwrap(),
            serde_json::from_slice::<Value>(&plain).unwrap()
        );
    }
    for (path, encoding) in [
        (MAPS, "gzip;q=0"),
        (MAPS, "br"),
        (&format!("{MAPS}?limit=2"), "gzip"),
        (&format!("{MAPS}/m0"), "gzip"),
    ] {
        let (headers, _) = get(&server, path, Some(encoding)).await;
        assert!(headers.get("content-encoding").is_none(), "{path} {encoding}");
    }
}
