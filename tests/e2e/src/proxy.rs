//! A slow link between a client and a worker: a relay between two unix sockets that holds
//! bytes back for the link's delay and lets through no more than its bandwidth. Counts
//! bytes; knows nothing of what they mean.

use anyhow::{Context, Result};
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that are read at once: a link sends what it has, and not all of a large message
/// before the first byte of it arrives.
const PIECE: usize = 16 << 10;
/// Pieces that a direction without a limit holds at most, for the sake of its delay.
const HELD: usize = 4096;
/// The same with a limit: who sends is to feel it, as with the buffers of a socket.
const HELD_BACK: usize = 32;

/// What a link is like, in each direction.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// From the sending of a byte to its arrival: half of the round-trip time.
    pub delay: Duration,
    /// Bytes a second; `None`: no limit.
    pub bandwidth: Option<u64>,
}

/// A relay; it ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    socket: PathBuf,
    counts: Arc<Counts>,
    ended: Arc<AtomicBool>,
}

/// Bytes that went each way.
#[derive(Debug, Default)]
struct Counts {
    to_worker: AtomicU64,
    to_client: AtomicU64,
}

impl Proxy {
    /// Listens at `socket` and carries each connection on to the one at `worker`.
    pub fn start(socket: &Path, worker: &Path, shape: Shape) -> Result<Self> {
        let listener = UnixListener::bind(socket).with_context(|| format!("listening at {}", socket.display()))?;
        let proxy = Self {
            socket: socket.to_owned(),
            counts: Arc::default(),
            ended: Arc::default(),
        };
        let (counts, ended, worker) = (proxy.counts.clone(), proxy.ended.clone(), worker.to_owned());
        thread::spawn(move || {
            for client in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                // Who cannot be reached has hung up, as on any link.
                let Ok(client) = client else { continue };
                if let Ok(worker) = UnixStream::connect(&worker) {
                    carry(client, worker, shape, &counts);
                }
            }
        });
        Ok(proxy)
    }

    /// Its address, as `TERMITE_WORKERS` takes it.
    pub fn address(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    /// Bytes that went to the worker so far, and back.
    pub fn bytes(&self) -> (u64, u64) {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (count(&self.counts.to_worker), count(&self.counts.to_client))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the listener; nobody connects any more if the socket is gone.
        let _ = UnixStream::connect(&self.socket);
        let _ = fs::remove_file(&self.socket);
    }
}

fn carry(client: UnixStream, worker: UnixStream, shape: Shape, counts: &Arc<Counts>) {
    let ends = [client.try_clone(), worker.try_clone()];
    let [Ok(client_too), Ok(worker_too)] = ends else { return };
    let (up, down) = (counts.clone(), counts.clone());
    one_way(client, worker_too, shape, move |bytes| {
        up.to_worker.fetch_add(bytes, Ordering::Relaxed);
    });
    one_way(worker, client_too, shape, move |bytes| {
        down.to_client.fetch_add(bytes, Ordering::Relaxed);
    });
}

fn one_way(mut from: UnixStream, to: UnixStream, shape: Shape, count: impl Fn(u64) + Send + 'static) {
    let held = shape.bandwidth.map_or(HELD, |_| HELD_BACK);
    let (send, arriving) = sync_channel::<(Instant, Vec<u8>)>(held);
    thread::spawn(move || {
        let mut free = Instant::now();
        let mut piece = vec![0; PIECE];
        // The end, and a broken connection, reach the other side by the channel's end.
        while let Ok(read @ 1..) = from.read(&mut piece) {
            count(read as u64);
            free = free.max(Instant::now());
            if let Some(bandwidth) = shape.bandwidth {
                free += Duration::from_secs_f64(read as f64 / bandwidth as f64);
            }
            if send.send((free + shape.delay, piece[..read].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || deliver(&arriving, to));
}

fn deliver(arriving: &Receiver<(Instant, Vec<u8>)>, mut to: UnixStream) {
    for (due, bytes) in arriving {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    // Already shut by the other side, perhaps.
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_late_and_slowly() {
        let dir = tempfile::tempdir().unwrap();
        let (near, far) = (dir.path().join("near"), dir.path().join("far"));
        let listener = UnixListener::bind(&far).unwrap();
        let shape = Shape {
            delay: Duration::from_millis(20),
            bandwidth: Some(1_000_000),
        };
        let proxy = Proxy::start(&near, &far, shape).unwrap();
        let echo = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut all = vec![0; 100_000];
            stream.read_exact(&mut all).unwrap();
            stream.write_all(&all[..1]).unwrap();
        });
        let begun = Instant::now();
        let mut stream = UnixStream::connect(&near).unwrap();
        stream.write_all(&vec![7; 100_000]).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(140), "{:?}", begun.elapsed());
        assert_eq!(proxy.bytes(), (100_000, 1));
        echo.join().unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the end arrives too");
    }
}
