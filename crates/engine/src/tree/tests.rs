//! The tree against models, over a store of pages in memory.

mod damage;
mod differences;
mod model;
mod shapes;
mod store;
mod timing;
