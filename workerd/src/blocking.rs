//! Work that blocks, off the event loop.

/// Runs `work` on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // Panics abort, and the runtime outlives its tasks: nothing else ends one.
        Err(gone) => unreachable!("blocking task: {gone}"),
    }
}
