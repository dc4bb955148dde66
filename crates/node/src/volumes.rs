//! Volumes of pods.
pub(crate) fn remove_shared_memory(_uid: &str) {}
