//! Reading logs during and after the run of a container.

use futures_util::{StreamExt as _, TryStreamExt as _, pin_mut};
use jiff::Timestamp;
use mxjob_node::{
    log::read::{Error, Request, open},
    runtime::{Attempt, IsolationMode},
};

use crate::node::{Node, block_on, main, run, shell, start};

crate::tests!("logs":
    a_log_reads_as_it_was_printed,
    tail_timestamps_since_and_limit_are_honoured,
    a_followed_log_ends_with_its_container,
    the_previous_attempt_has_its_own_log,
    errors_name_the_missing_log,
);

fn request(pod: &str) -> Request {
    Request { namespace: "ns".to_owned(), pod: pod.to_owned(), ..Request::default() }
}

async fn read(node: &Node, request: &Request) -> Result<String, Error> {
    let stream = open(node.dir.path(), request, Timestamp::now())?;
    let parts: Vec<_> = stream.try_collect().await.unwrap();
    Ok(String::from_utf8(parts.concat()).unwrap())
}

fn a_log_reads_as_it_was_printed() {
    let node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    run(&pod, shell("printf 'a\\n\\nb %050000d\\nend' 0"));
    let text = block_on(read(&node, &request("p"))).unwrap();
    assert_eq!(text, format!("a\n\nb {}\nend", "0".repeat(50_000)));
}

fn tail_timestamps_since_and_limit_are_honoured() {
    let node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    let exit = run(&pod, shell("echo one; echo two; sleep 0.05; echo three"));
    let base = request("p");
    let check = |request: Request, expect: &str| {
        assert_eq!(block_on(read(&node, &request)).unwrap(), expect, "{request:?}");
    };
    check(Request { tail_lines: Some(1), ..base.clone() }, "three\n");
    check(Request { tail_lines: Some(2), ..base.clone() }, "two\nthree\n");
    check(Request { tail_lines: Some(0), ..base.clone() }, "");
    check(Request { limit_bytes: Some(5), ..base.clone() }, "one\nt");
    check(Request { since_seconds: Some(3600), ..base.clone() }, "one\ntwo\nthree\n");
    check(Request { since_time: Some(exit.finished_at), ..base.clone() }, "");
    check(Request { container: Some("main".to_owned()), ..base.clone() }, "one\ntwo\nthree\n");
    check(Request { uid: Some("uid-p".to_owned()), ..base.clone() }, "one\ntwo\nthree\n");
    let text = block_on(read(&node, &Request { timestamps: true, ..base })).unwrap();
    for (line, word) in text.lines().zip(["one", "two", "three"]) {
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.parse::<Timestamp>().is_ok() && rest == word, "{line}");
    }
}

fn a_followed_log_ends_with_its_container() {
    let node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    let go = node.dir.path().join("go");
    let script = format!("echo one; until [ -e {} ]; do sleep 0.01; done; echo two", go.display());
    block_on(async {
        drop(start(&pod, shell(&script)));
        let followed = Request { follow: true, ..request("p") };
        let stream = open(node.dir.path(), &followed, Timestamp::now()).unwrap();
        pin_mut!(stream);
        assert_eq!(stream.next().await.unwrap().unwrap(), "one\n");
        std::fs::write(&go, "").unwrap();
        let rest: Vec<_> = stream.try_collect().await.unwrap();
        assert_eq!(rest.concat(), b"two\n");
    });
}

fn the_previous_attempt_has_its_own_log() {
    let node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    block_on(async {
        for (attempt, script) in [(0, "echo old; exit 1"), (1, "echo new")] {
            if let Attempt::Running(running) = pod.start(&main(), attempt, shell(script)).unwrap() {
                running.wait().await.unwrap();
            }
        }
        assert_eq!(read(&node, &request("p")).await.unwrap(), "new\n");
        let previous = Request { previous: true, ..request("p") };
        assert_eq!(read(&node, &previous).await.unwrap(), "old\n");
        pod.forget_before(&main(), 1);
        assert!(matches!(read(&node, &previous).await, Err(Error::NoPrevious { .. })));
    });
}

fn errors_name_the_missing_log() {
    let node = Node::new(IsolationMode::Auto);
    let message = |request: Request| block_on(read(&node, &request)).unwrap_err().to_string();
    assert_eq!(message(request("none")), "pod ns/none does not run on this node");
    let pod = node.pod("p");
    assert_eq!(
        message(Request { container: Some("main".to_owned()), ..request("p") }),
        "container \"main\" in pod \"p\" is waiting to start: ContainerCreating"
    );
    run(&pod, shell("true"));
    assert_eq!(
        message(Request { previous: true, ..request("p") }),
        "previous terminated container \"main\" in pod \"p\" not found"
    );
}
