//! `/healthz`, `/livez` and `/readyz`, with upstream's texts.
//!
//! Liveness covers the process and its store. Readiness adds named conditions of the server's
//! components, which are registered on a [`Readiness`] at startup and set by their owners. Details
//! of a failure go to the log, never to the caller, who is not authenticated.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use crate::request::Query;

/// Named conditions that must all hold before the server is ready. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Readiness {
    flags: Arc<watch::Sender<Vec<(String, bool)>>>,
}

/// One condition, for its owner. Initially false.
#[derive(Debug, Clone)]
pub struct Flag {
    readiness: Readiness,
    name: String,
}

/// A response of type `text/plain; charset=utf-8`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// HTTP status.
    pub code: u16,
    /// The text; a HEAD request gets only its length.
    pub text: String,
    /// Whether upstream sends `X-Content-Type-Options: nosniff` with it (not for a single passing
    /// check).
    pub nosniff: bool,
}

/// One check and its result.
struct Check<'a> {
    name: &'a str,
    ok: bool,
}

/// The page for a decoded path and a raw query string; `None` if the path is not a health endpoint.
/// An unknown check of an endpoint is a 404.
#[must_use]
pub fn answer(path: &str, query: &str, readiness: &Readiness, store_ok: bool) -> Option<Page> {
    let path = path.strip_prefix('/')?;
    let (endpoint, single) = path.split_once('/').unwrap_or((path, ""));
    let flags = readiness.flags.borrow().clone();
    let mut checks = vec![Check { name: "ping", ok: true }, Check { name: "store", ok: store_ok }];
    match endpoint {
        "livez" | "healthz" => {}
        "readyz" => checks.extend(flags.iter().map(|(name, ok)| Check { name, ok: *ok })),
        _ => return None,
    }
    Some(if single.is_empty() {
        all(endpoint, &Query::parse(query), &checks)
    } else {
        one(single, &checks)
    })
}

fn all(endpoint: &str, query: &Query, checks: &[Check<'_>]) -> Page {
    let mut excluded: BTreeSet<&str> = query.all("exclude").collect();
    let mut failed: Vec<&str> = Vec::new();
    let mut text = String::new();
    for check in checks {
        if excluded.remove(check.name) {
            text += &format!("[+]{} excluded: ok\n", check.name);
        } else if check.ok {
            text += &format!("[+]{} ok\n", check.name);
        } else {
            text += &format!("[-]{} failed: reason withheld\n", check.name);
            failed.push(check.name);
        }
    }
    if !excluded.is_empty() {
        let names: Vec<String> = excluded.iter().map(|name| format!("{name:?}")).collect();
        text += &format!(
            "warn: some health checks cannot be excluded: no matches for {}\n",
            names.join(", ")
        );
    }
    if !failed.is_empty() {
        tracing::debug!(endpoint, failed = failed.join(","), "health check failed");
        return Page { code: 500, text: format!("{text}{endpoint} check failed\n"), nosniff: true };
    }
    let verbose = query.get("verbose").is_some();
    let text = if verbose { format!("{text}{endpoint} check passed\n") } else { "ok".to_owned() };
    Page { code: 200, text, nosniff: true }
}

fn one(name: &str, checks: &[Check<'_>]) -> Page {
    match checks.iter().find(|check| check.name == name) {
        Some(check) if check.ok => Page { code: 200, text: "ok".to_owned(), nosniff: false },
        Some(_) => Page {
            code: 500,
            text: "internal server error: reason withheld\n".to_owned(),
            nosniff: true,
        },
        None => Page { code: 404, text: "404 page not found\n".to_owned(), nosniff: true },
    }
}

// === impl Readiness ===

impl Readiness {
    /// No conditions: ready.
    #[must_use]
    pub fn new() -> Self {
        Self { flags: Arc::new(watch::Sender::new(Vec::new())) }
    }

    /// Registers a condition, initially false. A name that already exists returns its condition.
    #[must_use]
    pub fn register(&self, name: &str) -> Flag {
        self.flags.send_if_modified(|flags| {
            let new = !flags.iter().any(|(present, _)| present == name);
            if new {
                flags.push((name.to_owned(), false));
            }
            new
        });
        Flag { readiness: self.clone(), name: name.to_owned() }
    }

    /// Whether all conditions hold.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.flags.borrow().iter().all(|(_, holds)| *holds)
    }

    /// Waits until all conditions hold. Cancellation safe.
    pub async fn ready(&self) {
        let mut flags = self.flags.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        let _ = flags.wait_for(|flags| flags.iter().all(|(_, holds)| *holds)).await;
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Flag ===

impl Flag {
    /// Sets whether the condition holds.
    pub fn set(&self, holds: bool) {
        self.readiness.flags.send_if_modified(|flags| {
            let slot = flags.iter_mut().find(|(name, _)| *name == self.name);
            slot.is_some_and(|(_, present)| std::mem::replace(present, holds) != holds)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(readiness: &Readiness, store_ok: bool, target: &str) -> Option<(u16, String, bool)> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let answer = answer(path, query, readiness, store_ok)?;
        Some((answer.code, answer.text, answer.nosniff))
    }

    #[test]
    fn responses_have_upstreams_texts() {
        let readiness = Readiness::new();
        readiness.register("controller").set(true);
        let check = |target: &str, code: u16, text: &str, nosniff: bool| {
            assert_eq!(
                ask(&readiness, true, target),
                Some((code, text.to_owned(), nosniff)),
                "{target}"
            );
        };
        check("/healthz", 200, "ok", true);
        check("/livez/", 200, "ok", true);
        check("/readyz", 200, "ok", true);
        check("/livez?verbose", 200, "[+]ping ok\n[+]store ok\nlivez check passed\n", true);
        check(
            "/readyz?verbose=1",
            200,
            "[+]ping ok\n[+]store ok\n[+]controller ok\nreadyz check passed\n",
            true,
        );
        check(
            "/readyz?verbose&exclude=store&exclude=etcd&exclude=log",
            200,
            "[+]ping ok\n[+]store excluded: ok\n[+]controller ok\nwarn: some health checks cannot be excluded: no matches for \"etcd\", \"log\"\nreadyz check passed\n",
            true,
        );
        check("/healthz/ping", 200, "ok", false);
        check("/readyz/controller", 200, "ok", false);
        check("/livez/controller", 404, "404 page not found\n", true);
        check("/healthz/nope", 404, "404 page not found\n", true);
        check("/healthz/ping/", 404, "404 page not found\n", true);
        assert_eq!(ask(&readiness, true, "/healthzz"), None);
        assert_eq!(ask(&readiness, true, "/"), None);
    }

    #[test]
    fn failed_checks_are_listed_without_their_reason() {
        let readiness = Readiness::new();
        let flag = readiness.register("node");
        let check = |store_ok: bool, target: &str, code: u16, text: &str| {
            assert_eq!(
                ask(&readiness, store_ok, target),
                Some((code, text.to_owned(), true)),
                "{target}"
            );
        };
        check(true, "/livez", 200, "ok");
        check(
            true,
            "/readyz",
            500,
            "[+]ping ok\n[+]store ok\n[-]node failed: reason withheld\nreadyz check failed\n",
        );
        check(true, "/readyz?exclude=node", 200, "ok");
        check(true, "/readyz/node", 500, "internal server error: reason withheld\n");
        check(
            false,
            "/livez",
            500,
            "[+]ping ok\n[-]store failed: reason withheld\nlivez check failed\n",
        );
        flag.set(true);
        check(true, "/readyz", 200, "ok");
    }

    #[tokio::test]
    async fn readiness_is_awaited() {
        let readiness = Readiness::new();
        readiness.ready().await;
        let (one, two) = (readiness.register("one"), readiness.register("two"));
        assert!(!readiness.is_ready());
        let waiting = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.ready().await }
        });
        one.set(true);
        assert!(!readiness.is_ready() && !waiting.is_finished());
        two.set(true);
        waiting.await.unwrap();
        two.set(false);
        assert!(!readiness.is_ready());
        readiness.register("two").set(true);
        assert!(readiness.is_ready());
    }
}
