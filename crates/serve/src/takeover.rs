//! Connections that stop being HTTP: what goes on with them after `101 Switching Protocols`.

use std::fmt;
use std::sync::Arc;

use futures_core::future::BoxFuture;
use parking_lot::Mutex;

/// Put into the extensions of a `101` response: what the connection does once the response is out, until its end. The work gets
/// the connection itself from the request's `hyper::upgrade::OnUpgrade`.
#[derive(Clone)]
pub struct Takeover(Arc<Mutex<Option<BoxFuture<'static, ()>>>>);

/// The work that a connection will go on with.
#[derive(Default)]
pub(super) struct Next(Mutex<Option<BoxFuture<'static, ()>>>);

// === impl Takeover ===

impl Takeover {
    /// Work to be done with the connection.
    #[must_use]
    pub fn new(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::pin(work)))))
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

    /// Does the work, if there is any.
    pub(super) async fn run(&self) {
        let work = self.0.lock().take();
        if let Some(work) = work {
            work.await;
        }
    }
}
