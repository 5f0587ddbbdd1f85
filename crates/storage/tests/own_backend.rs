//! The example of a backend of one's own does what it shows.

#[path = "../examples/own_backend.rs"]
mod own_backend;

#[test]
fn a_third_party_adds_a_backend_by_the_public_interface_alone() {
    own_backend::main().expect("it conforms");
}
