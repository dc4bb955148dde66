//! Runs the controller for each term in which this operator leads.

use tokio::sync::watch;
use tracing::info;

use super::{Error, Shared};
use crate::client::Fence;

/// The current term: its fence, or `None` while another operator leads.
pub(super) type Term = watch::Receiver<Option<Fence>>;

/// Why the controller stopped without an error.
#[derive(Debug, PartialEq, Eq)]
enum End {
    LostLease,
    Shutdown,
}

/// Leads in every term, until `shutdown`.
pub(super) async fn lead(
    shared: &Shared,
    mut term: Term,
    mut shutdown: impl Future<Output = ()> + Unpin,
) -> Result<(), Error> {
    loop {
        let fence = tokio::select! {
            () = &mut shutdown => return Ok(()),
            fence = next_fence(&mut term) => fence.ok_or(Error::Part(None))?,
        };
        if lead_one_term(shared, &fence, &mut term, &mut shutdown).await? == End::Shutdown {
            return Ok(());
        }
    }
}

/// The fence of the next term; `None` if the election has ended. Without an election the sender is
/// gone, but the term is set.
async fn next_fence(term: &mut Term) -> Option<Fence> {
    term.wait_for(Option::is_some).await.ok().and_then(|fence| fence.clone())
}

/// Runs the controller until the term is over or `shutdown` resolves.
async fn lead_one_term(
    shared: &Shared,
    fence: &Fence,
    term: &mut Term,
    shutdown: &mut (impl Future<Output = ()> + Unpin),
) -> Result<End, Error> {
    let since_start = shared.started.elapsed();
    let after_ms = u64::try_from(since_start.as_millis()).unwrap_or(u64::MAX);
    info!(after_ms, "started the controller");
    shared.metrics.leads(since_start);
    let mut end = End::LostLease;
    let stop = async {
        tokio::select! {
            () = &mut *shutdown => end = End::Shutdown,
            // Before the controller has stopped: it cannot write any more.
            () = term_is_over(term, fence) => shared.metrics.stands_by(),
        }
    };
    let client = shared.transport.client(fence.clone());
    let result = mxjob_controller::run(client, shared.controller_options(), stop).await;
    shared.metrics.stands_by();
    result.map_err(Error::Controller)?;
    info!("stopped the controller");
    Ok(end)
}

/// Resolves when the term of this fence is over; never without an election.
async fn term_is_over(term: &mut Term, fence: &Fence) {
    let is_other = |now: &Option<Fence>| now.as_ref().is_none_or(|now| !now.is(fence));
    if term.wait_for(is_other).await.is_err() {
        std::future::pending::<()>().await;
    }
}
