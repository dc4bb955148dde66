use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn names() -> Vec<String> {
    server_names([127, 0, 0, 1].into(), Some("Box"))
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn crt(dir: &Path) -> String {
    fs::read_to_string(dir.join("pki/server.crt")).unwrap()
}

const DAY_ONE: &str = "2026-11-24T08:00:00Z";

#[test]
fn a_new_directory_gets_an_authority_and_a_certificate_that_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), &names(), at(DAY_ONE)).unwrap();
    let made = crt(dir.path());
    let second = open(dir.path(), &names(), at("2027-10-01T00:00:00Z")).unwrap();
    assert_eq!((first.ca_pem, made), (second.ca_pem, crt(dir.path())));
    let mode = |name: &str| dir.path().join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("pki"), mode("pki/ca.key"), mode("pki/server.key")), (0o700, 0o600, 0o600));
    assert_eq!((mode("pki/ca.crt"), mode("pki/server.crt")), (0o600, 0o600));
}

#[test]
fn certificate_is_renewed_for_expiry_or_new_names_and_key_and_authority_stay() {
    let dir = tempfile::tempdir().unwrap();
    let renewed = |names: &[String], now: &str| {
        let before = fs::read_to_string(dir.path().join("pki/server.crt")).unwrap_or_default();
        let keys = || {
            ["ca.crt", "ca.key", "server.key"]
                .map(|name| fs::read(dir.path().join("pki").join(name)).ok())
        };
        let keys_before = keys();
        open(dir.path(), names, at(now)).unwrap();
        assert!(before.is_empty() || keys() == keys_before);
        crt(dir.path()) != before
    };
    assert!(renewed(&names(), DAY_ONE));
    assert!(!renewed(&names(), "2027-10-24T00:00:00Z"));
    assert!(renewed(&names(), "2027-10-26T00:00:00Z"));
    let more = server_names([10, 0, 0, 7].into(), Some("box"));
    assert!(renewed(&more, "2027-10-26T00:00:00Z"));
    assert!(!renewed(&more, "2027-10-26T00:00:00Z"));
    // Long after it expired.
    assert!(renewed(&more, "2030-01-01T00:00:00Z"));
}

#[test]
fn an_interrupted_start_is_completed_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path(), &names(), at(DAY_ONE)).unwrap();
    fs::write(dir.path().join("pki/server.key"), "").unwrap(); // a power loss
    fs::write(dir.path().join("pki/server.crt"), "").unwrap();
    open(dir.path(), &names(), at(DAY_ONE)).unwrap();
    for left_out in [
        &["server.crt"][..],
        &["server.crt", "server.key"],
        &["server.crt", "server.key", "ca.crt"],
    ] {
        for name in left_out {
            fs::remove_file(dir.path().join("pki").join(name)).unwrap();
        }
        open(dir.path(), &names(), at(DAY_ONE)).unwrap();
    }
}

#[test]
fn broken_foreign_and_missing_files_are_named_in_one_sentence() {
    let other = tempfile::tempdir().unwrap();
    open(other.path(), &names(), at(DAY_ONE)).unwrap();
    let check = |damage: &dyn Fn(&Path), want: &str| {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), &names(), at(DAY_ONE)).unwrap();
        damage(&dir.path().join("pki"));
        let before = fs::read(dir.path().join("pki/server.crt")).ok();
        let message = open(dir.path(), &names(), at(DAY_ONE)).unwrap_err().to_string();
        let message = message.replace(&format!("{}/pki/", dir.path().display()), "");
        assert!(message.starts_with(want), "{message}");
        assert_eq!(fs::read(dir.path().join("pki/server.crt")).ok(), before, "{want}");
    };
    let write = |name: &'static str, text: &'static str| {
        move |pki: &Path| fs::write(pki.join(name), text).unwrap()
    };
    let remove = |name: &'static str| move |pki: &Path| fs::remove_file(pki.join(name)).unwrap();
    let foreign = |name: &'static str| {
        let text = fs::read(other.path().join("pki").join(name)).unwrap();
        move |pki: &Path| fs::write(pki.join(name), &text).unwrap()
    };
    check(&write("ca.crt", "hello"), "ca.crt does not hold a usable certificate");
    check(&write("server.crt", "hello"), "server.crt does not hold a usable certificate");
    check(&write("server.key", "hello"), "server.key does not hold a usable private key");
    check(
        &|pki| fs::write(pki.join("server.key"), [0xff]).unwrap(),
        "server.key does not hold a usable PEM text",
    );
    check(&remove("server.key"), "server.crt exists but server.key does not");
    check(&foreign("server.key"), "server.crt was not made with server.key");
    check(&foreign("server.crt"), "server.crt was not made with ca.crt");
    check(&foreign("ca.crt"), "server.crt was not made with ca.crt");
    check(
        &|pki| {
            foreign("ca.key")(pki);
            remove("server.crt")(pki);
        },
        "ca.crt was not made with ca.key",
    );
    check(
        &|pki| {
            remove("ca.key")(pki);
            remove("server.crt")(pki);
        },
        "ca.crt exists but ca.key does not",
    );
}

#[test]
fn names_include_local_cluster_and_host_names_and_the_address() {
    let fixed = "localhost kubernetes kubernetes.default kubernetes.default.svc 127.0.0.1 ::1";
    let check = |listen: &str, host: Option<&str>, more: &str| {
        assert_eq!(server_names(listen.parse().unwrap(), host).join(" "), format!("{fixed}{more}"));
    };
    check("127.0.0.1", None, "");
    check("127.0.0.1", Some("Box.lan"), " box.lan");
    check("0.0.0.0", Some("localhost"), "");
    check("::", Some("no good"), "");
    check("10.0.0.7", Some("box"), " box 10.0.0.7");
    check("fd00::1", None, " fd00::1");
}
