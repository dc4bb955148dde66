//! Heavy requests: large bodies, YAML, lists, large objects, documents about all kinds.
//!
//! They compute for milliseconds to seconds without a pause. On a thread of the runtime every
//! connection that the thread serves would wait. So each step of them, up to the next point where
//! it waits for something, runs on a thread for blocking work, in a turn of its own. While such a
//! request waits (for the disk, for a webhook) it has neither a thread nor a turn.
//!
//! It is a task of its own ([`apart`]): a caller in this process may have several requests and poll
//! only one of them, and the others must not keep a turn meanwhile.

use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use tokio::sync::Notify;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::level::{Level, Seat};

/// Remembers that the work can go on.
#[derive(Debug, Default)]
struct Woken(Notify);

/// Executes work in a task of its own, which ends when the result is dropped.
pub(crate) async fn apart<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let mut task = Task(tokio::spawn(work));
    joined((&mut task.0).await).await
}

/// Executes work step by step; the first step has the given turn. If the result is dropped, a step
/// that has begun still ends, and none follows: the work stops at a point where it waits, like any
/// dropped future.
pub(crate) async fn run<F>(turn: Seat, work: F) -> F::Output
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let (level, flow) = (Arc::clone(turn.level()), Arc::clone(turn.flow()));
    let woken = Arc::new(Woken::default());
    let mut work = Box::pin(work);
    let mut turn = turn;
    loop {
        let waker = Waker::from(Arc::clone(&woken));
        match step(turn, work, waker).await {
            (_, Poll::Ready(output)) => return output,
            (rest, Poll::Pending) => work = rest,
        }
        woken.0.notified().await;
        turn = Level::seat(&level, &flow).await;
    }
}

async fn step<F>(turn: Seat, mut work: Pin<Box<F>>, waker: Waker) -> (Pin<Box<F>>, Poll<F::Output>)
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let step = spawn_blocking(move || {
        let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
        drop(turn);
        (work, polled)
    });
    joined(step.await).await
}

/// The result of a task; a panic is passed on.
async fn joined<T>(result: Result<T, JoinError>) -> T {
    match result {
        Ok(output) => output,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is shutting down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// A task that is aborted when it is dropped.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::super::Control;

    #[tokio::test]
    async fn steps_run_away_from_the_runtime_and_waiting_has_no_turn() {
        let control = Control::new();
        let own = thread::current().id();
        let (go, gone) = oneshot::channel::<u32>();
        let work = async move {
            let before = thread::current().id();
            let value = gone.await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
            (before, thread::current().id(), value)
        };
        let flow = "a".into();
        let mut waiting = Box::pin(super::run(control.turn(&flow).await, work));
        loop {
            assert!(waiting.as_mut().now_or_never().is_none());
            if control.turns.executing() == 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
        go.send(7).unwrap();
        let (before, after, value) = waiting.await;
        assert!(before != own && after != own);
        assert_eq!((value, control.turns.executing()), (7, 0));
    }

    #[tokio::test]
    async fn a_caller_that_does_not_poll_keeps_no_turn() {
        let control = Arc::new(Control::new());
        let request = |value: usize| {
            let control = Arc::clone(&control);
            let flow = "a".into();
            super::apart(async move {
                let work = async move {
                    tokio::task::yield_now().await;
                    value
                };
                super::run(control.turn(&flow).await, work).await
            })
        };
        let mut waiting: Vec<_> = (0..20).map(|value| Box::pin(request(value))).collect();
        for one in &mut waiting {
            let _ = one.as_mut().now_or_never();
        }
        // Only this one is polled until its end.
        assert_eq!(request(20).await, 20);
        drop(waiting);
        while control.turns.executing() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_panic_is_passed_on_and_frees_the_turn() {
        let control = Control::new();
        let flow = "a".into();
        let turn = control.turn(&flow).await;
        let work = super::apart(super::run(turn, async { panic!("on purpose") }));
        let outcome = std::panic::AssertUnwindSafe(work).catch_unwind().await;
        assert!(outcome.is_err());
        assert_eq!(control.turns.executing(), 0);
    }
}
