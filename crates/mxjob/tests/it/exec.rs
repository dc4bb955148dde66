//! `kubectl exec`, `attach`, `cp` and `port-forward`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Done, Lines, Place, Server, Text as _, signal, until, wait_until};

/// Runs a pod with one container until it is ready.
fn run(place: &Place, server: &Server<'_>, script: &str) {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
        "restartPolicy": "Never",
        "containers": [{
            "name": "c", "image": "none", "command": ["/bin/sh", "-c", script],
            "env": [{"name": "PLACE", "value": place.path()}, {"name": "HELLO", "value": "world"}],
        }],
    }});
    server.create(&pod);
    server.kubectl(&["wait", "--for=condition=Ready", "pod/p", "--timeout=60s"]);
}

/// kubectl with bytes on standard input.
fn with_input(server: &Server<'_>, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = server.kubectl_command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{args:?}");
    output.stdout
}

/// Binary data that is larger than every buffer on the way.
fn bytes() -> Vec<u8> {
    (0..3_000_000_u32)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(3_000_000)
        .collect()
}

/// Waits until a process has ended; a zombie has.
fn wait_until_ended(pid: &str) {
    wait_until("the command has ended", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}

fn wait_for_text(path: &Path) -> String {
    wait_until("the file is written", || {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.strip_suffix('\n').map(str::to_owned)
    })
}

#[test]
fn exec_runs_in_the_container_and_returns_the_exit_code() {
    let place = Place::new();
    let server = Server::up(&place);
    run(&place, &server, &until("go"));
    let script = "echo $HELLO; hostname; pwd; echo wrong >&2; exit 3";
    let done = server.try_kubectl(&["exec", "p", "--", "sh", "-c", script]);
    let folder = fs::canonicalize(place.path()).unwrap();
    let mut lines = done.stdout.lines();
    assert_eq!(lines.next(), Some("world"));
    // Without root, containers have the host name of the machine.
    assert!(lines.next().is_some_and(|name| !name.is_empty()), "{}", done.stdout);
    assert_eq!(lines.next().map(Path::new), Some(folder.as_path()));
    done.stderr.must_start_with("wrong\n");
    assert_eq!(done.code(), Some(3));

    let done = server.try_kubectl(&["exec", "p", "--", "no-such-program"]);
    assert_eq!(done.code(), Some(127));
    done.stderr.must_contain(r#"cannot run "no-such-program""#);
    let done = server.try_kubectl(&["exec", "p", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(done.code(), Some(137));
    let done = server.try_kubectl(&["exec", "p", "-c", "other", "--", "true"]);
    done.stderr.must_contain("container other is not valid for pod p");
    let done = server.try_kubectl(&["exec", "q", "--", "true"]);
    done.stderr.must_contain("(NotFound)");
}

#[test]
fn background_process_of_a_command_does_not_block_the_client() {
    let place = Place::new();
    let server = Server::up(&place);
    run(&place, &server, &until("go"));
    let script = "sleep 1000 & echo $! > $PLACE/pid; echo done";
    assert_eq!(server.kubectl(&["exec", "p", "--", "sh", "-c", script]), "done\n");
    let pid = wait_for_text(&place.path().join("pid"));
    assert!(
        Path::new("/proc").join(&pid).exists(),
        "the process must run until its container ends"
    );
    server.kubectl(&["delete", "pod", "p", "--grace-period=0", "--force"]);
    wait_until_ended(&pid);
}

#[test]
fn standard_input_reaches_the_command_with_its_end() {
    let place = Place::new();
    let server = Server::up(&place);
    run(&place, &server, &until("go"));
    assert_eq!(with_input(&server, &["exec", "-i", "p", "--", "cat"], b"hello\n"), b"hello\n");
    let all = bytes();
    assert!(with_input(&server, &["exec", "-i", "p", "--", "cat"], &all) == all);
}

#[test]
fn terminal_has_the_size_of_the_client_and_one_output() {
    let place = Place::new();
    let server = Server::up(&place);
    run(&place, &server, &until("go"));
    // kubectl sends the size after the start of the command.
    let script = "while [ \"$(stty size)\" != '31 91' ]; do sleep 0.02; done; test -t 1 && echo terminal >&2; exit 4";
    let kubectl = server.kubectl_command(&["exec", "-it", "p", "--", "sh", "-c", script]);
    let words: Vec<_> = std::iter::once(kubectl.get_program())
        .chain(kubectl.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap().replace('\'', r"'\''")))
        .collect();
    let line = format!("stty rows 31 cols 91; {}", words.join(" "));
    // `script` ends its command when its standard input ends.
    let mut child = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take();
    let done = Done::of(child.wait_with_output().unwrap());
    drop(stdin);
    assert_eq!(done.code(), Some(4), "{} {}", done.stdout, done.stderr);
    assert!(done.stdout.contains("terminal\r\n"), "{:?}", done.stdout);
}

#[test]
fn cp_copies_files_into_a_container_and_back() {
    let place = Place::new();
    let server = Server::up(&place);
    run(&place, &server, &until("go"));
    let path = |name: &str| place.path().join(name).display().to_string();
    let all = bytes();
    fs::write(path("source"), &all).unwrap();
    server.kubectl(&["cp", &path("source"), &format!("p:{}", path("copy"))]);
    assert!(fs::read(path("copy")).unwrap() == all);
    server.kubectl(&["cp", &format!("p:{}", path("copy")), &path("back")]);
    assert!(fs::read(path("back")).unwrap() == all);
}

#[test]
fn command_ends_with_its_client_and_with_its_pod() {
    let place = Place::new();
    let server = Server::up(&place);
    run(&place, &server, &until("go"));
    let command = |file: &str| {
        let script = format!("echo $$ > $PLACE/{file}; echo started; sleep 1000; true");
        let mut lines = server.follow(&["exec", "p", "--", "sh", "-c", &script]);
        lines.wait_for("started");
        (lines, wait_for_text(&place.path().join(file)))
    };
    let (client, pid) = command("first");
    signal(client.id(), "KILL");
    wait_until_ended(&pid);

    let (client, pid) = command("second");
    server.kubectl(&["delete", "pod", "p", "--grace-period=0", "--force"]);
    wait_until_ended(&pid);
    let (status, _) = client.finish();
    assert_eq!(status.code(), Some(137));
}

#[test]
fn server_stops_while_commands_run() {
    let place = Place::new();
    let server = Server::up(&place);
    run(&place, &server, &until("go"));
    let mut client = server.follow(&["exec", "p", "--", "sh", "-c", "echo started; sleep 1000"]);
    client.wait_for("started");
    let (status, _) = server.terminate();
    assert!(status.success());
    let (status, _) = client.finish();
    assert!(!status.success(), "kubectl must report that the connection was lost");
}

#[test]
fn attach_prints_the_output_until_the_container_ends() {
    let place = Place::new();
    let server = Server::up(&place);
    run(&place, &server, "while [ ! -e $PLACE/go ]; do echo tick; sleep 0.02; done; echo last");
    let mut client = server.follow(&["attach", "p"]);
    client.wait_for("tick");
    let done = server.try_kubectl(&["attach", "-i", "p"]);
    done.stderr.must_contain("have no standard input");
    place.write("go", "");
    let (status, lines) = client.finish();
    assert!(status.success());
    assert_eq!(lines.last().map(String::as_str), Some("last"));
    let done = wait_until("the container has ended", || {
        let done = server.try_kubectl(&["exec", "p", "--", "true"]);
        (done.code() != Some(0)).then_some(done)
    });
    assert_ne!(done.stderr, "");
}

#[test]
fn port_forward_transfers_concurrent_connections() {
    let place = Place::new();
    let server = Server::up(&place);
    fs::write(place.path().join("file"), bytes()).unwrap();
    let python = "import http.server, os; place = os.environ['PLACE']; \
        handler = lambda *a: http.server.SimpleHTTPRequestHandler(*a, directory=place); \
        s = http.server.ThreadingHTTPServer(('', 0), handler); \
        open(place + '/port', 'w').write('%d\\n' % s.server_port); s.serve_forever()";
    run(&place, &server, &format!("exec python3 -c \"{python}\""));
    let port = wait_for_text(&place.path().join("port"));
    let mut client = forward(&server, &port);
    let local = local_port(&mut client);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let answer = fetch(local);
                assert!(answer.starts_with(b"HTTP/1.0 200 OK\r\n"));
                assert!(answer.ends_with(&bytes()));
            });
        }
    });

    let done = server.try_kubectl(&["port-forward", "q", "1:1"]);
    done.stderr.must_contain("(NotFound)");
}

fn forward(server: &Server<'_>, port: &str) -> Lines {
    server.follow(&["port-forward", "--address", "127.0.0.1", "p", &format!(":{port}")])
}

fn local_port(client: &mut Lines) -> u16 {
    let line = client.wait_for("Forwarding from 127.0.0.1:");
    line.split(':').nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
}

fn fetch(port: u16) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /file HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn forwarding_to_a_closed_port_is_reported() {
    let place = Place::new();
    let server = Server::up(&place);
    run(&place, &server, &until("go"));
    let command = server.kubectl_command(&["port-forward", "--address", "127.0.0.1", "p", ":9"]);
    let mut client = place.start(command);
    let local = local_port(&mut client);
    assert_eq!(fetch(local), b"");
    wait_until("kubectl reports the error", || {
        place.stderr().contains("error forwarding port 9: cannot connect to 127.").then_some(())
    });
}

#[test]
fn exec_attach_and_port_forward_support_get_and_create() {
    let place = Place::new();
    let server = Server::up(&place);
    let can = |verb: &str| {
        let args = ["auth", "can-i", verb, "pods", "--subresource=exec"];
        server.kubectl(&args)
    };
    assert_eq!((can("get").as_str(), can("create").as_str()), ("yes\n", "yes\n"));
    let list: Value = serde_json::from_str(&server.kubectl(&["get", "--raw", "/api/v1"])).unwrap();
    let kinds: Vec<_> = list["resources"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|resource| resource["verbs"] == json!(["create", "get"]))
        .map(|resource| format!("{} {}", resource["name"], resource["kind"]))
        .collect();
    assert_eq!(
        kinds,
        [
            r#""pods/attach" "PodAttachOptions""#,
            r#""pods/exec" "PodExecOptions""#,
            r#""pods/portforward" "PodPortForwardOptions""#
        ]
    );
}
