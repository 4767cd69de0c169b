//! What holds for all values: keys are told apart, and patterns have the verdicts of a live server.

mod keys;
mod matching;
mod patterns;
mod values;
