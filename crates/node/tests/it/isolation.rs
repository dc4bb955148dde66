//! Isolation of pods from each other.

use std::{
    io::Read as _,
    net::{Ipv4Addr, TcpStream},
};

use mxjob_node::{
    runtime::{Attempt, IsolationMode, Sandbox},
    state::Bind,
};

use crate::node::{Node, address, argv, block_on, eventually, lines, run, shell, start};

crate::tests!("isolation":
    a_program_inherits_nothing_from_the_agent,
    two_pods_listen_on_the_same_wildcard_port,
    an_ipv6_wildcard_stays_on_the_pods_address,
    a_pod_reaches_itself_at_localhost,
    host_network_binds_are_not_changed,
    a_datagram_client_may_use_any_address,
    connections_come_from_the_pods_address,
    names_resolve_inside_a_pod_and_follow_changes,
    the_host_name_is_the_name_of_the_pod,
    mounts_are_visible_only_inside,
);

fn a_program_inherits_nothing_from_the_agent() {
    for mode in [IsolationMode::Auto, IsolationMode::Plain] {
        let node = Node::new(mode);
        let pod = node.pod("p");
        let mut command = argv(&["/usr/bin/env"]);
        command.env = vec![("ONLY".to_owned(), "this".to_owned())];
        run(&pod, command);
        assert_eq!(lines(&pod), ["ONLY=this"]);
        // The standard descriptors, and the one that `ls` uses for the folder.
        let pod = node.pod("q");
        run(&pod, argv(&["/bin/ls", "/proc/self/fd"]));
        assert_eq!(lines(&pod), ["0", "1", "2", "3"]);
        let pod = node.pod("r");
        run(&pod, shell("grep -E '^Sig(Blk|Ign)' /proc/self/status; umask"));
        let [blocked, ignored, umask] = lines(&pod).try_into().unwrap();
        assert_eq!((blocked.as_str(), umask.as_str()), ("SigBlk:\t0000000000000000", "0022"));
        // Signals 32 and 33 are reserved by the C library.
        let ignored = u64::from_str_radix(ignored.split('\t').nth(1).unwrap(), 16).unwrap();
        assert_eq!(ignored & !(0b11 << 31), 0);
    }
}

/// Listens on a wildcard address and greets every caller with its name and the caller's address.
const SERVER: &str = "
import socket, sys
family, host, port, name = sys.argv[1:]
server = socket.socket(getattr(socket, family))
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind((host, int(port)))
server.listen()
print(server.getsockname()[1], flush=True)
while True:
    client, peer = server.accept()
    client.sendall((name + ' ' + peer[0]).encode())
    client.close()
";

fn serve(pod: &Sandbox, family: &str, host: &str, port: u16) -> u16 {
    let name = pod.record().name.clone();
    let command = argv(&["python3", "-c", SERVER, family, host, &port.to_string(), &name]);
    drop(start(pod, with_path(command)));
    eventually("the start of the server", || lines(pod).first().and_then(|line| line.parse().ok()))
}

/// Python may be installed outside of the standard folders.
pub(crate) fn with_path(mut command: mxjob_node::runtime::Command) -> mxjob_node::runtime::Command {
    command.env = ["PATH", "HOME"]
        .iter()
        .filter_map(|&name| Some((name.to_owned(), std::env::var(name).ok()?)))
        .collect();
    command
}

fn greeting(address: Ipv4Addr, port: u16) -> String {
    let mut text = String::new();
    TcpStream::connect((address, port)).unwrap().read_to_string(&mut text).unwrap();
    text
}

/// Whether pods own their addresses here; prints the reason if not.
fn isolated(node: &Node) -> bool {
    let isolation = node.runtime().isolation();
    if let Some(why) = isolation.why_not() {
        println!("skipped: {why}");
    }
    isolation.owns_addresses()
}

fn two_pods_listen_on_the_same_wildcard_port() {
    let node = Node::new(IsolationMode::Auto);
    if !isolated(&node) {
        return;
    }
    block_on(async {
        let (a, b) = (node.pod("a"), node.pod("b"));
        let port = serve(&a, "AF_INET", "0.0.0.0", 0);
        assert_eq!(serve(&b, "AF_INET", "0.0.0.0", port), port);
        for pod in [&a, &b] {
            assert_eq!(greeting(pod.address(), port), format!("{} 127.0.0.1", pod.record().name));
        }
        assert!(
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(),
            "no other process listens"
        );
    });
}

fn an_ipv6_wildcard_stays_on_the_pods_address() {
    let node = Node::new(IsolationMode::Auto);
    if !isolated(&node) {
        return;
    }
    block_on(async {
        let (a, b) = (node.pod("a"), node.pod("b"));
        let port = serve(&a, "AF_INET6", "::", 0);
        assert_eq!(serve(&b, "AF_INET6", "::", port), port);
        for pod in [&a, &b] {
            let name = &pod.record().name;
            assert_eq!(greeting(pod.address(), port), format!("{name} ::ffff:127.0.0.1"));
        }
    });
}

/// Listens on a wildcard address and connects to itself. The port is an argument, so that two pods
/// can use the same.
const SELF: &str = "
import socket, sys
server = socket.socket()
server.bind(('0.0.0.0', int(sys.argv[1])))
server.listen()
port = server.getsockname()[1]
client = socket.create_connection(('127.0.0.1', port))
peer, address = server.accept()
print(port, address[0], client.getpeername()[0], flush=True)
sys.stdin.read()
import time
time.sleep(1000)
";

fn a_pod_reaches_itself_at_localhost() {
    let node = Node::new(IsolationMode::Auto);
    if !isolated(&node) {
        return;
    }
    block_on(async {
        let mut port = "0".to_owned();
        for name in ["a", "b"] {
            let pod = node.pod(name);
            drop(start(&pod, with_path(argv(&["python3", "-c", SELF, &port]))));
            let line = eventually("the connection", || lines(&pod).into_iter().next());
            let (same, addresses) = line.split_once(' ').unwrap();
            assert_eq!(addresses, format!("{0} {0}", pod.address()));
            port = same.to_owned();
        }
    });
}

fn host_network_binds_are_not_changed() {
    let node = Node::new(IsolationMode::Auto);
    if !isolated(&node) {
        return;
    }
    block_on(async {
        let pod = node.pod_on_host_network("p");
        let port = serve(&pod, "AF_INET", "0.0.0.0", 0);
        for address in [Ipv4Addr::LOCALHOST, pod.address()] {
            assert!(greeting(address, port).starts_with("p "));
        }
    });
}

/// Prints the addresses of a datagram client and of a datagram server.
const DATAGRAM: &str = "
import socket
client = socket.socket(type=socket.SOCK_DGRAM)
client.bind(('0.0.0.0', 0))
print(client.getsockname()[0])
port = client.getsockname()[1]
client.close()
server = socket.socket(type=socket.SOCK_DGRAM)
server.bind(('0.0.0.0', port))
print(server.getsockname()[0])
";

fn a_datagram_client_may_use_any_address() {
    let node = Node::new(IsolationMode::Auto);
    if !isolated(&node) {
        return;
    }
    let pod = node.pod("p");
    run(&pod, with_path(argv(&["python3", "-c", DATAGRAM])));
    assert_eq!(lines(&pod), ["0.0.0.0", &pod.address().to_string()]);
}

const CLIENT: &str = "
import socket, sys
print(socket.create_connection((sys.argv[1], int(sys.argv[2]))).recv(100).decode())
";

fn connections_come_from_the_pods_address() {
    let node = Node::new(IsolationMode::Auto);
    if !isolated(&node) {
        return;
    }
    block_on(async {
        let server = node.pod("server");
        let port = serve(&server, "AF_INET", "0.0.0.0", 0);
        let hosts = format!("{} service service.ns.svc.cluster.local\n", server.address());
        let client = node.pod_with_hosts("client", address(), &hosts);
        for name in ["service", "service.ns.svc.cluster.local"] {
            let container = name.replace('.', "-").parse().unwrap();
            let command = argv(&["python3", "-c", CLIENT, name, &port.to_string()]);
            let exit = match client.start(&container, 0, with_path(command)).unwrap() {
                Attempt::Running(running) => running.wait().await.unwrap(),
                Attempt::Ended(exit) => exit,
                Attempt::NotStarted => panic!("not started"),
            };
            assert!(exit.succeeded(), "{exit:?}");
            let log = client.dir().attempt(&container, 0).log();
            let log = std::fs::read_to_string(log).unwrap();
            assert!(log.trim_end().ends_with(&format!("server {}", client.address())), "{log}");
        }
    });
}

fn names_resolve_inside_a_pod_and_follow_changes() {
    let node = Node::new(IsolationMode::Auto);
    if !isolated(&node) {
        return;
    }
    let pod = node.pod_with_hosts("p", address(), "127.64.0.1 first\n");
    block_on(async {
        let script =
            "getent ahostsv4 first | head -1; until getent hosts second; do sleep 0.01; done";
        let running = start(&pod, shell(script));
        eventually("the first answer", || (lines(&pod).len() == 1).then_some(()));
        pod.write_hosts("127.64.0.2 second\n").unwrap();
        running.wait().await.unwrap();
    });
    let lines = lines(&pod);
    assert!(lines[0].starts_with("127.64.0.1") && lines[1].starts_with("127.64.0.2"), "{lines:?}");
    assert!(!std::fs::read_to_string("/etc/hosts").unwrap().contains("127.64.0.2"));
}

fn the_host_name_is_the_name_of_the_pod() {
    let node = Node::new(IsolationMode::Auto);
    if !isolated(&node) {
        return;
    }
    let pod = node.pod("digits-worker-0");
    run(&pod, shell("uname -n"));
    assert_eq!(lines(&pod), ["digits-worker-0"]);
}

fn mounts_are_visible_only_inside() {
    let node = Node::new(IsolationMode::Auto);
    if !isolated(&node) {
        return;
    }
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("file"), "content\n").unwrap();
    let target = tempfile::tempdir().unwrap();
    let pod = node.pod("p");
    let path = target.path().display();
    let mut command =
        shell(&format!("cat {path}/file; touch {path}/new 2>/dev/null || echo read-only"));
    command.binds = vec![Bind {
        sub_path: None,
        source: source.path().to_owned(),
        target: target.path().to_owned(),
        read_only: true,
    }];
    run(&pod, command);
    let lines = lines(&pod);
    assert_eq!((lines[0].as_str(), lines.last().unwrap().as_str()), ("content", "read-only"));
    assert!(std::fs::read_dir(target.path()).unwrap().next().is_none());
}
