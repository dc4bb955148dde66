//! The stop of the server, as its connections and bodies see it.

use tokio::sync::watch;

/// Waits until the server stops. May be dropped at any time.
pub(super) async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the serving loop is gone, which counts as a stop.
    let _ = stop.wait_for(|stopped| *stopped).await;
}
