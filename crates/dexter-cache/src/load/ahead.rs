//! Refreshing ahead: a value that is about to expire is loaded anew, and nobody waits for it.
//!
//! The refresh is a flight like others: fences void it. Who misses while it runs waits for it: by joining it in memory, and
//! by its lease where the value is in a backend, since there all who read pass through flights and must not be held up.
//! It begins only where no other refresh of the key is under way, here or, by the lease in the header, in another
//! process; and only after a look at the backend, where somebody may have renewed the value already.

use std::future::Future;
use std::sync::Arc;

use tracing::Instrument;

use super::find::due;
use super::wait::run;
use crate::backend::memory::Claim;
use crate::call::Call;
use crate::global::Scope;
use crate::policy::Policy;
use crate::shape::Shape;
use crate::share::Share;

/// Begins a refresh in the background. `claim` keeps other callers in this process from beginning one.
pub(super) fn refresh_ahead<R, S, H, F>(
    call: Arc<Call>,
    shape: S,
    share: H,
    policy: Policy,
    load: F,
    claim: Option<Claim>,
) where
    R: Send + 'static,
    S: Shape<R> + 'static,
    H: Share<R> + 'static,
    F: Future<Output = R> + Send + 'static,
{
    let background = Arc::clone(&call.cache.0.background);
    let task = async move {
        let _claim = claim;
        if let Some(lead) = due(&call, shape.codec(), policy).await {
            // Nobody listens; the refresh has no caller to be cancelled with.
            if let (_, _, Some(fill)) = run(lead, shape, share, load).await {
                // Until it is stored, what hits find is what was due.
                fill.store().await;
            }
        }
    };
    // The request that came upon it may be answered before: nothing that happens here is reported as a part of it.
    let scope = Scope {
        record: None,
        ..Scope::current()
    };
    // Without a runtime it is left to the next caller, or to the miss at the end.
    drop(background.spawn(scope.enter(task).instrument(tracing::Span::current())));
}
