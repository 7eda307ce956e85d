//! The rules of `core` over requests, and the entry's settings.

mod attacks;
mod benign;
mod crs;
mod entry;
