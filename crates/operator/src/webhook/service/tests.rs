use serde_json::json;

use super::*;

const KIB: usize = 1024;

fn review(operation: &str, object: &Value, old: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5",
            "resource": { "group": "kubeflow.org", "version": "v1", "resource": "mxjobs" },
            "operation": operation,
            "object": object,
            "oldObject": old,
        },
    })
}

fn job(image: &str) -> Value {
    json!({
        "apiVersion": "kubeflow.org/v1",
        "kind": "MXJob",
        "metadata": { "name": "digits", "namespace": "default" },
        "spec": { "mxReplicaSpecs": { "Worker": { "template": { "spec": {
            "containers": [{ "name": "mxnet", "image": image }],
        } } } } },
    })
}

struct Asked {
    code: u16,
    allow: Option<String>,
    text: String,
}

async fn ask(reviews: &mut ReviewService, request: Request<Full<Bytes>>) -> Asked {
    use http_body_util::BodyExt as _;
    let (head, body) = reviews.call(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let allow = head.headers.get(header::ALLOW).map(|value| value.to_str().unwrap().to_owned());
    Asked { code: head.status.as_u16(), allow, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

fn request(method: &str, path: &str, media: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(path).header("Content-Type", media);
    request.body(Full::new(body.into())).unwrap()
}

fn post(review: &Value) -> Request<Full<Bytes>> {
    request("POST", "/validate?timeout=5s", "application/json", review.to_string())
}

#[tokio::test]
async fn a_review_is_answered_by_the_rules_of_jobs_and_counted() {
    let metrics = Metrics::default();
    let mut reviews = ReviewService::new(metrics.clone());
    let (old, new) = (job("mxnet:1.9.1"), job("mxnet:2"));
    for (review, allowed, part) in [
        (review("CREATE", &old, &Value::Null), true, ""),
        (review("CREATE", &json!({ "spec": {} }), &Value::Null), false, "spec.mxReplicaSpecs"),
        (review("UPDATE", &old, &old), true, ""),
        (review("UPDATE", &new, &old), false, "containers[0].image: Forbidden"),
        (review("DELETE", &Value::Null, &old), true, ""),
    ] {
        let asked = ask(&mut reviews, post(&review)).await;
        assert_eq!(asked.code, 200, "{}", asked.text);
        let answer: Value = serde_json::from_str(&asked.text).unwrap();
        assert_eq!(answer["response"]["uid"], "705ab4f5");
        assert_eq!(answer["response"]["allowed"], allowed, "{answer:#}");
        assert!(asked.text.contains(part), "{answer:#}");
    }
    let text = metrics.encode();
    for (operation, allowed, count) in [
        ("create", "true", 1),
        ("create", "false", 1),
        ("update", "true", 1),
        ("update", "false", 1),
        ("delete", "true", 1),
    ] {
        let line = format!(
            "mxjob_webhook_review_duration_seconds_count{{operation=\"{operation}\",allowed=\"{allowed}\"}} {count}"
        );
        assert!(text.contains(&line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn other_requests_are_refused_with_a_status_and_a_reason() {
    let metrics = Metrics::default();
    let mut reviews = ReviewService::new(metrics.clone());
    let json = "application/json";
    let good = || review("CREATE", &job("a"), &Value::Null).to_string();
    for (request, code, part) in [
        (request("POST", "/", json, good()), 404, "only /validate"),
        (request("GET", "/metrics", json, ""), 404, "only /validate"),
        (request("GET", "/validate", json, ""), 405, "by POST"),
        (request("PUT", "/validate", json, good()), 405, "by POST"),
        (request("POST", "/validate", "application/yaml", good()), 415, "application/json"),
        (request("POST", "/validate", "", good()), 415, "application/json"),
        (request("POST", "/validate", json, ""), 400, "JSON"),
        (request("POST", "/validate", json, "{"), 400, "JSON"),
        (request("POST", "/validate", json, "[".repeat(100_000)), 400, ""),
        (request("POST", "/validate", json, "null"), 400, "AdmissionReview"),
        (request("POST", "/validate", json, "{\"kind\":\"Pod\"}"), 400, "AdmissionReview"),
        (request("POST", "/validate", json, vec![b' '; 8 * KIB * KIB + 1]), 413, "larger"),
    ] {
        let asked = ask(&mut reviews, request).await;
        assert_eq!(asked.code, code, "{}", asked.text);
        assert!(asked.text.contains(part), "{}", asked.text);
        assert_eq!(asked.allow.as_deref(), (code == 405).then_some("POST"));
    }
    let media = request("POST", "/validate", "Application/JSON; charset=utf-8", good());
    assert_eq!(ask(&mut reviews, media).await.code, 200);
    let text = metrics.encode();
    assert!(text.contains("mxjob_webhook_refused_requests_total{code=\"405\"} 2"), "{text}");
}

#[tokio::test]
async fn a_body_without_a_length_counts_as_the_largest() {
    use http_body_util::{BodyExt as _, StreamBody};
    let reviews = |parts: usize| async move {
        let part = Bytes::from(vec![b' '; KIB * KIB]);
        let frame = move |_| Ok::<_, Infallible>(http_body::Frame::data(part.clone()));
        let frames: Vec<_> = (0..parts).map(frame).collect();
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let request = Request::post("/validate").header("Content-Type", "application/json");
        let mut reviews = ReviewService::new(Metrics::default());
        let response = reviews.call(request.body(body).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let _ = response.into_body().collect().await.unwrap();
        status
    };
    assert_eq!(reviews(8).await, 400, "read to its end, but not JSON");
    assert_eq!(reviews(9).await, 413);
}

#[tokio::test]
async fn reviews_of_the_largest_objects_fit_many_at_a_time() {
    let mut old = job("mxnet:1.9.1");
    old["metadata"]["annotations"] = json!({ "notes": "x".repeat(1_500 * KIB) });
    let body = review("UPDATE", &old, &old).to_string();
    let reviews = ReviewService::new(Metrics::default());
    let all = (0..20).map(|_| {
        let (mut reviews, body) = (reviews.clone(), body.clone());
        async move {
            ask(&mut reviews, request("POST", "/validate", "application/json", body)).await.code
        }
    });
    let codes = futures_util::future::join_all(all).await;
    assert_eq!(codes, [200; 20]);
}

#[tokio::test]
async fn recorded_requests_of_a_cluster_are_answered_as_the_rules_answer_them() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/tests/data/reviews");
    let mut reviews = ReviewService::new(Metrics::default());
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let review: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let asked = ask(&mut reviews, post(&review)).await;
        let answer: Value = serde_json::from_str(&asked.text).unwrap();
        assert_eq!((asked.code, answer), (200, review::answer(&review)), "{}", path.display());
        count += 1;
    }
    assert!(count >= 10, "{count}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_senders_of_large_bodies_do_not_block_others() {
    use mxjob_serve as serve;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    let reviews = ReviewService::within(BodyMemory::new(64 * KIB, 100), Metrics::default());
    let bound = serve::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = bound.local_addr();
    let never = std::future::pending();
    let serving = serve::serve(
        serve::Limits::default(),
        bound,
        None,
        reviews.clone(),
        never,
        std::time::Duration::ZERO,
    );
    let serving = tokio::spawn(serving);
    let send = |size: usize, body: String| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
        );
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        stream
    };
    let mut slow = Vec::new();
    for number in 1..=3 {
        slow.push(send(8 * KIB * KIB, " ".repeat(20 * KIB)).await);
        while reviews.0.memory.held() < number * 20 * KIB {
            tokio::task::yield_now().await;
        }
    }
    // More than the memory that is left.
    let mut job = job("mxnet:1.9.1");
    job["metadata"]["annotations"] = json!({ "notes": "x".repeat(10 * KIB) });
    let body = review("CREATE", &job, &Value::Null).to_string();
    let mut answer = send(body.len(), body).await;
    let mut first = [0; 15];
    answer.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    slow[0].read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 503 Se", "the oldest was dropped");
    serving.abort();
}
