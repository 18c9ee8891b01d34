//! Layouts, labels, the store and its cache, on folders made for the test and on published data
//! where it is at hand.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod avenue;
mod cache;
mod converted;
mod fixture;
mod labels;
mod own;
mod pace;
mod pixels;
mod shanghaitech;
mod store;
mod survey;
mod ucsd;
