//! The real stub against a daemon that follows a script.

mod fake;
mod home;
mod job;
mod journal;
mod start;
mod streams;
mod terminal;
