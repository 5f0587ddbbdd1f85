//! The hot layer from outside: what it promises to programs, and what it survives.

mod cache;
mod crash;
mod heap;
mod hostile;
mod lifetime;
mod map;
mod order;
mod reader;
mod region;
mod support;
mod views;
