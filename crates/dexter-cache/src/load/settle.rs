//! What a load came to.

use super::fall::Failed;
use super::fill::Fill;
use super::lead::Lead;
use crate::call::Answer;
use crate::flight::Shared;
use crate::shape::Shape;
use crate::share::Share;

/// What a load came to, for the caller that ran it.
#[expect(
    clippy::large_enum_variant,
    reason = "taken apart at once, and the large variant is the common one"
)]
pub(super) enum Settled<R, V> {
    Done {
        result: R,
        answer: Answer,
        /// What is left to do behind the answer.
        fill: Option<Fill>,
    },
    /// It failed, and there was a stale value in the backend: whether it may answer is for the backend to say.
    Fallen {
        result: R,
        /// The error, as followers get it.
        shared: Option<Shared>,
        lead: Box<Lead<V>>,
    },
}

/// Ends the flight, or as much of it as can be ended without waiting.
pub(super) fn settle<R, S, H>(
    lead: Box<Lead<S::Value>>,
    shape: S,
    share: H,
    result: R,
) -> Settled<R, S::Value>
where
    S: Shape<R>,
    H: Share<R>,
{
    let result = match shape.split(result) {
        Ok(value) => {
            let (left, fill) = lead.land(Some(&value));
            return Settled::Done {
                result: shape.join(value),
                answer: Answer::Loaded(left),
                fill,
            };
        }
        Err(result) => result,
    };
    let shared = share.share(&result);
    if S::NOTHING && shape.is_nothing(&result) {
        // `None` is an answer, and no failure.
        let (left, fill) = lead.land_nothing(shared);
        return Settled::Done {
            result,
            answer: Answer::Loaded(left),
            fill,
        };
    }
    match lead.fail(shared.clone()) {
        Failed::Ended(answer) => Settled::Done {
            result,
            answer,
            fill: None,
        },
        Failed::Stale(value) => Settled::Done {
            result: shape.join(value),
            answer: Answer::Stale,
            fill: None,
        },
        Failed::Ask(lead) => Settled::Fallen {
            result,
            shared,
            lead,
        },
    }
}
