//! Waits for any number of futures at the same time.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// A future, and its output once it has one.
type Joined<F> = (Pin<Box<F>>, Option<<F as Future>::Output>);

/// The outputs of all futures, in their order, once all have one. Each poll polls all that have none, so there must be few.
pub async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<Joined<F>> = futures
        .into_iter()
        .map(|future| (Box::pin(future), None))
        .collect();
    poll_fn(|context| {
        let mut is_done = true;
        for (future, output) in &mut all {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(value) => *output = Some(value),
                    Poll::Pending => is_done = false,
                }
            }
        }
        if is_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    all.into_iter().filter_map(|(_, output)| output).collect()
}
