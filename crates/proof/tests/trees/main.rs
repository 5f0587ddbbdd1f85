//! Trees from both sides: what an honest holder proves, and what everyone else can't.

mod adversary;
mod changes;
mod forged;
mod golden;
mod honest;
mod model;
mod mutations;
mod random;
mod roots;
mod specified;
