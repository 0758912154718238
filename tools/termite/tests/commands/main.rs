//! `termite` and `termite-env` as people start them, against a daemon that follows a
//! script and a stub that tells what it was asked.

mod cli;
mod env;
mod stage;
mod wrapper;
