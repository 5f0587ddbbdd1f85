//! The tree against models, over a store of pages in memory.

mod model;
mod shapes;
mod store;
