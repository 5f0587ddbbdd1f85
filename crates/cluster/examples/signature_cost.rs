//! What it would cost to sign every message and to check every signature, beside sealing it with a key that both ends have.
//!
//! ```console
//! $ cargo run -p weald-cluster --example signature_cost
//! ```

use std::hint::black_box;
use std::time::Instant;

use ed25519_dalek::{Signer, SigningKey, Verifier};

/// As long as a small write on its way to a replica.
const MESSAGE: [u8; 150] = [7; 150];
const ROUNDS: u32 = 5_000;

fn microseconds(mut work: impl FnMut()) -> f64 {
    let began = Instant::now();
    (0..ROUNDS).for_each(|_| work());
    began.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
}

fn main() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let signature = key.sign(&MESSAGE);
    let sign = microseconds(|| {
        black_box(key.sign(black_box(&MESSAGE)));
    });
    let check = microseconds(|| {
        let genuine = key.verifying_key().verify(black_box(&MESSAGE), &signature);
        assert!(black_box(genuine).is_ok());
    });
    let keyed = microseconds(|| {
        black_box(blake3::keyed_hash(&[1; 32], black_box(&MESSAGE)));
    });
    println!("sign {sign:.1} us, check {check:.1} us; a keyed hash {keyed:.2} us");
}
