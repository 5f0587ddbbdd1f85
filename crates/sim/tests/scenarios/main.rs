//! Single stories, step by step: what happens without a bug, and that the bug would show.

mod members;
mod registers;
mod repair;
mod requests;
mod stories;
mod strangers;
mod town;
