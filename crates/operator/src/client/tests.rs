use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::Mutex;

use http::Method;
use prometheus_client::registry::Registry;

use super::*;

/// A server that gives the answers of a list, the last one for ever, and records the requests.
#[derive(Clone, Default)]
struct Server {
    answers: Arc<Mutex<Vec<Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone, Copy)]
enum Answer {
    Code(u16),
    /// With `Retry-After`.
    After(u16, u64),
    /// No answer.
    Silence,
}

impl Service<Request<Body>> for Server {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0] };
        let asked = Arc::clone(&self.asked);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let line = format!("{} {}", parts.method, String::from_utf8_lossy(&body));
            asked.lock().unwrap().push(line);
            let response = Response::builder();
            let response = match answer {
                Answer::Code(code) => response.status(code),
                Answer::After(code, seconds) => {
                    response.status(code).header("Retry-After", seconds)
                }
                Answer::Silence => std::future::pending().await,
            };
            Ok(response.body(Full::new(Bytes::from("{}"))).unwrap())
        }
        .boxed()
    }
}

struct Bench {
    server: Server,
    transport: Transport,
}

impl Bench {
    fn new(answers: &[Answer], rate: Option<Rate>) -> Self {
        let server =
            Server { answers: Arc::new(Mutex::new(answers.to_vec())), ..Server::default() };
        let base = kube::Client::new(server.clone(), "default");
        Self { server, transport: Transport::over(base, rate, RequestMetrics::default()) }
    }

    fn counted(&self) -> String {
        let mut registry = Registry::default();
        self.transport.metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }
}

const PODS: &str = "/api/v1/namespaces/team/pods";

async fn post(client: &kube::Client) -> kube::Result<StatusCode> {
    let request = Request::builder().method(Method::POST).uri(PODS);
    let answer = client.send(request.body(Body::from(b"pod".to_vec())).unwrap()).await?;
    Ok(answer.status())
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_turned_away_is_sent_again_unchanged() {
    let answers = [Answer::After(429, 2), Answer::After(503, 1), Answer::Code(201)];
    let bench = Bench::new(&answers, None);
    let begun = Instant::now();
    assert_eq!(post(&bench.transport.client(Fence::open())).await.unwrap(), 201);
    assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(*bench.server.asked.lock().unwrap(), ["POST pod"; 3]);
    let text = bench.counted();
    for code in ["429", "503", "201"] {
        let series = format!(
            "mxjob_api_requests_total{{verb=\"create\",resource=\"pods\",code=\"{code}\"}} 1"
        );
        assert!(text.contains(&series), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_last_attempt_the_refusal_is_returned() {
    let bench = Bench::new(&[Answer::After(429, 1)], None);
    assert_eq!(post(&bench.transport.client(Fence::open())).await.unwrap(), 429);
    assert_eq!(bench.server.asked.lock().unwrap().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_fails_at_the_deadline_and_is_counted() {
    let bench = Bench::new(&[Answer::Silence], None);
    let error = post(&bench.transport.client(Fence::open())).await.unwrap_err();
    assert!(error.to_string().contains("has not answered within 60 seconds"), "{error}");
    let series = "mxjob_api_requests_total{verb=\"create\",resource=\"pods\",code=\"error\"} 1";
    assert!(bench.counted().contains(series), "{}", bench.counted());
}

#[tokio::test(start_paused = true)]
async fn a_closed_fence_passes_reads_and_rejects_writes() {
    let bench = Bench::new(&[Answer::Code(200)], None);
    let fence = Fence::open();
    let client = bench.transport.client(fence.clone());
    post(&client).await.unwrap();
    fence.close();
    let error = post(&client).await.unwrap_err();
    assert!(error.to_string().contains("no longer leads"), "{error}");
    let read = Request::builder().uri(PODS).body(Body::empty()).unwrap();
    assert_eq!(client.send(read).await.unwrap().status(), 200);
    assert_eq!(*bench.server.asked.lock().unwrap(), ["POST pod", "GET "]);
}

#[tokio::test(start_paused = true)]
async fn a_write_checks_the_fence_again_at_each_attempt() {
    let bench = Bench::new(&[Answer::After(429, 5)], None);
    let fence = Fence::open();
    let client = bench.transport.client(fence.clone());
    let write = tokio::spawn(async move { post(&client).await });
    while bench.server.asked.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    fence.close();
    assert!(write.await.unwrap().is_err());
    assert_eq!(bench.server.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn requests_beyond_the_burst_wait_and_those_of_the_lease_do_not() {
    let rate = |number| NonZeroU32::new(number).unwrap();
    let bench = Bench::new(&[Answer::Code(200)], Some(Rate { qps: rate(20), burst: rate(2) }));
    let client = bench.transport.client(Fence::open());
    let begun = Instant::now();
    for _ in 0..4 {
        post(&client).await.unwrap();
    }
    let took = begun.elapsed();
    // Two immediately, two more at 20 a second.
    assert!(took >= Duration::from_millis(95), "{took:?}");
    let plain = bench.transport.direct_client();
    futures_util::future::join_all((0..1000).map(|_| post(&plain))).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn errors_are_described_by_the_most_specific_message() {
    let api = |code: u16, message: &str, reason: &str| {
        let status = kube::core::Status::failure(message, reason).with_code(code);
        describe(&kube::Error::Api(Box::new(status)))
    };
    assert_eq!(api(403, "pods is forbidden: no", "Forbidden"), "pods is forbidden: no");
    assert_eq!(api(500, "", "InternalError"), "InternalError");
    assert_eq!(api(502, "", ""), "the API server answered 502");
    assert_eq!(
        api(401, "Unauthorized", "Unauthorized"),
        "the API server rejected the operator's credentials"
    );
    let late = kube::Error::Service(Box::new(DeadlineExceeded(Duration::from_secs(60))));
    assert_eq!(describe(&late), "the API server has not answered within 60 seconds");
}
