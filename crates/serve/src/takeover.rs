//! Connections that leave HTTP after `101 Switching Protocols`.

use std::fmt;
use std::sync::Arc;

use futures_core::future::BoxFuture;
use parking_lot::Mutex;

/// Put into the extensions of a `101` response: the work that uses the connection after the
/// response, until the work ends. It gets the connection from the request's
/// `hyper::upgrade::OnUpgrade`.
#[derive(Clone)]
pub struct Takeover(Arc<Mutex<Option<BoxFuture<'static, ()>>>>);

/// The work that follows the HTTP part of a connection.
#[derive(Default)]
pub(super) struct Next(Mutex<Option<BoxFuture<'static, ()>>>);

// === impl Takeover ===

impl Takeover {
    /// Wraps the work that uses the connection.
    #[must_use]
    pub fn new(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::pin(work)))))
    }

    /// Keeps a value until the work has ended.
    pub fn keep(&self, kept: impl Send + 'static) {
        let mut work = self.0.lock();
        *work = work.take().map(|work| -> BoxFuture<'static, ()> {
            Box::pin(async move {
                let _kept = kept;
                work.await;
            })
        });
    }

    fn take(&self) -> Option<BoxFuture<'static, ()>> {
        self.0.lock().take()
    }
}

impl fmt::Debug for Takeover {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Takeover")
    }
}

// === impl Next ===

impl Next {
    pub(super) fn set(&self, takeover: &Takeover) {
        *self.0.lock() = takeover.take();
    }

    /// Runs the work, if there is any.
    pub(super) async fn run(&self) {
        let work = self.0.lock().take();
        if let Some(work) = work {
            work.await;
        }
    }
}
