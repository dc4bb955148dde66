//! Existing client libraries, which connect over TLS with the kubeconfig of the server.

mod controller;
mod foreign;
