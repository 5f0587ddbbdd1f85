//! The forgeries of the integration tests, here as well: to try them on a verifier that lacks a check.

use std::string::String;

#[path = "../tests/trees/model.rs"]
mod model;
#[path = "../tests/trees/mutations.rs"]
mod mutations;

use crate::planted::{Check, without};
use mutations as of;

/// The first forgery of a kind that passes.
type Kind = fn() -> Option<String>;

/// Each check, and a kind of forgery that it stands against.
const CHECKS: [(Check, Kind); 13] = [
    (Check::Version, of::flipped_bits),
    (Check::Root, of::flipped_bits),
    (Check::End, of::cut_or_longer),
    (Check::Number, of::stretched_numbers),
    (Check::Level, of::hostile_bytes),
    (Check::Count, of::hostile_bytes),
    (Check::Order, of::hostile_bytes),
    (Check::Holder, of::disagreeing_elements),
    (Check::Limit, of::wrongly_shown),
    (Check::Value, of::wrongly_shown),
    (Check::Entry, of::wrongly_shown),
    (Check::Bound, of::wrongly_shown),
    (Check::Gap, of::wrongly_shown),
];

#[test]
fn forgeries_pass_where_a_check_is_left_out() {
    for (check, forge) in CHECKS {
        assert!(
            without(check, forge).is_some(),
            "nothing notices that {check:?} is left out"
        );
    }
}

/// Mixtures and rearrangements get nowhere without the hashes, and somewhere if those are not looked at.
#[test]
fn forgeries_of_whole_proofs_pass_where_hashes_are_not_compared() {
    for forge in [of::rearranged, of::of_another] {
        assert!(without(Check::Root, forge).is_some());
    }
}
