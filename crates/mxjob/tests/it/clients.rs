//! Clients that people already have, unchanged, on a real server over TLS from the kubeconfig it
//! wrote.

mod controller;
mod foreign;
