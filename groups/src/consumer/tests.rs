//! Stories of one group, told by hand; and what stays true in any story.

mod harness;
mod offsets;
mod random;
mod rebalance;
mod reload;
mod requests;
mod statics;
mod subscriptions;
