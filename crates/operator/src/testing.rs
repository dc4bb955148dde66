//! A cluster for the tests of this crate: mxjob's own API server in memory.

use std::sync::Arc;

use mxjob_access::authn::Authenticator;
use mxjob_access::tokens::Tokens;
use mxjob_apiserver::environment::System;
use mxjob_apiserver::health::Readiness;
use mxjob_apiserver::{ApiServer, Config};

/// A bootstrapped API server, and the folder of its store.
pub(crate) async fn api_server() -> (ApiServer, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = mxjob_store::Store::open(dir.path(), mxjob_store::Options::default()).unwrap();
    let api = ApiServer::new(Config {
        store,
        environment: Arc::new(System),
        authenticator: Authenticator::new(Tokens::default()),
        readiness: Readiness::new(),
    });
    api.bootstrap().await.unwrap();
    (api, dir)
}
