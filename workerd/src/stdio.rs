//! A job's descriptors 0 to 2 on the worker: pipes, or the slot's terminal, their job's
//! ends and ours. Knows bytes and their order; knows nothing of who reads them.

use crate::slot::JobFd;
use crate::watched::watched;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::Winsize;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use termite_types::{Stdin, Stdio, TerminalSize};
use tokio::io::unix::AsyncFd;

/// Bytes read from a job at once.
const PIECE: usize = 64 << 10;

/// What stays here of a job's descriptors.
pub(crate) struct OurEnds {
    outlets: Vec<(u8, OwnedFd)>,
    inlet: Option<OwnedFd>,
    /// Another name of the read end of the job's input, to see what is left in it.
    peek: Option<OwnedFd>,
    is_shared: bool,
    pty: Option<OwnedFd>,
}

/// Makes the pipes: the job's ends of descriptors 0 to 2, and ours.
pub(crate) fn open(stdio: &Stdio) -> io::Result<([JobFd; 3], OurEnds)> {
    let mut ours = OurEnds {
        outlets: Vec::new(),
        inlet: None,
        peek: None,
        is_shared: stdio.stdin == Stdin::Shared,
        pty: None,
    };
    let stdin = match stdio.stdin {
        _ if stdio.terminal[0] => JobFd::Terminal,
        Stdin::Closed => JobFd::Closed,
        Stdin::Null => JobFd::Null,
        Stdin::Pipe | Stdin::Shared | Stdin::File => {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            ours.inlet = Some(write);
            ours.peek = Some(fcntl_dupfd_cloexec(&read, 3)?);
            JobFd::Open(read)
        }
    };
    let mut out = |number: u8, is_open: bool| match is_open {
        false => Ok(JobFd::Closed),
        true if stdio.terminal[usize::from(number)] => Ok(JobFd::Terminal),
        true => {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            ours.outlets.push((number, read));
            Ok::<_, io::Error>(JobFd::Open(write))
        }
    };
    let stdout = out(1, stdio.stdout)?;
    let stderr = match &stdout {
        JobFd::Open(stdout) if stdio.merged => JobFd::Open(fcntl_dupfd_cloexec(stdout, 3)?),
        _ => out(2, stdio.stderr)?,
    };
    Ok(([stdin, stdout, stderr], ours))
}

impl OurEnds {
    /// The slot made a terminal: this is its master.
    pub(crate) fn set_terminal(&mut self, master: OwnedFd, stdio: &Stdio) -> io::Result<()> {
        // What it echoes or prints is shown where the terminal is: any of its descriptors.
        let shown_as = if stdio.terminal[1] { 1 } else { 2 };
        self.outlets.push((shown_as, fcntl_dupfd_cloexec(&master, 3)?));
        if stdio.terminal[0] {
            self.inlet = Some(fcntl_dupfd_cloexec(&master, 3)?);
        }
        self.pty = Some(master);
        Ok(())
    }
}

fn set_size(pty: impl AsFd, size: TerminalSize) -> io::Result<()> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(rustix::termios::tcsetwinsize(pty, size)?)
}

/// A job's standard input while it runs.
pub(crate) struct Input {
    inlet: RefCell<Option<Rc<AsyncFd<OwnedFd>>>>,
    peek: Option<OwnedFd>,
    is_shared: bool,
    is_pty: bool,
    written: Cell<u64>,
}

/// A job's output streams while it runs.
pub(crate) struct Output(Vec<(u8, AsyncFd<OwnedFd>)>);

/// The job's terminal, if it has one.
pub(crate) struct Terminal(Option<OwnedFd>);

impl OurEnds {
    /// Registers the ends with the event loop of this thread.
    pub(crate) fn watch(self) -> io::Result<(Input, Output, Terminal)> {
        let is_pty = self.pty.is_some();
        let inlet = self.inlet.map(watched).transpose()?.map(Rc::new);
        let input = Input {
            inlet: RefCell::new(inlet),
            peek: self.peek,
            is_shared: self.is_shared,
            is_pty,
            written: Cell::new(0),
        };
        let outlets = self.outlets.into_iter().map(|(number, fd)| Ok((number, watched(fd)?)));
        Ok((input, Output(outlets.collect::<io::Result<_>>()?), Terminal(self.pty)))
    }
}

impl Input {
    /// Hands the job a piece; an empty one ends its input. Resolves when the job's pipe
    /// has taken it.
    pub(crate) async fn put(&self, bytes: &[u8]) -> io::Result<()> {
        let Some(inlet) = self.inlet.borrow().clone() else {
            return Ok(());
        };
        if bytes.is_empty() {
            self.inlet.take();
            // A terminal's end of file is a character; a pipe's is its closing.
            return if self.is_pty {
                self.write(&inlet, &[4]).await
            } else {
                Ok(())
            };
        }
        self.write(&inlet, bytes).await
    }

    async fn write(&self, inlet: &AsyncFd<OwnedFd>, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = inlet.writable().await?;
            let written = ready.try_io(|inlet| Ok(rustix::io::write(inlet.get_ref(), bytes)?));
            match written {
                Ok(Ok(len)) => {
                    self.written.set(self.written.get() + len as u64);
                    bytes = &bytes[len..];
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
        Ok(())
    }

    /// Whether the job may get more: of input that others share it has read all that it got.
    pub(crate) fn is_ready(&self) -> bool {
        let is_drained = |peek| rustix::io::ioctl_fionread(peek).is_ok_and(|left| left == 0);
        !self.is_shared || self.peek.as_ref().is_none_or(is_drained)
    }

    /// Bytes that the job read. For a terminal, those that were handed over.
    pub(crate) fn read(&self) -> io::Result<u64> {
        let in_pipe = self.peek.as_ref().map_or(Ok(0), rustix::io::ioctl_fionread)?;
        Ok(self.written.get().saturating_sub(in_pipe))
    }
}

impl Output {
    /// Calls `show` with each piece in the order of arrival until every writer is gone.
    pub(crate) async fn pump(self, show: impl AsyncFn(u8, Vec<u8>)) -> io::Result<()> {
        let streams = self.0.into_iter().map(|(number, fd)| {
            let show = &show;
            async move {
                while let Some(piece) = next_piece(&fd).await? {
                    show(number, piece).await;
                }
                Ok(())
            }
        });
        futures::future::try_join_all(streams).await.map(|_| ())
    }
}

async fn next_piece(fd: &AsyncFd<OwnedFd>) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; PIECE];
    loop {
        let mut ready = fd.readable().await?;
        match ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut buffer[..])?)) {
            Ok(Ok(0)) => return Ok(None),
            Ok(Ok(len)) => {
                buffer.truncate(len);
                return Ok(Some(buffer));
            }
            // A pty whose last user is gone.
            Ok(Err(error)) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => return Ok(None),
            Ok(Err(error)) => return Err(error),
            Err(_would_block) => {}
        }
    }
}

impl Terminal {
    /// Gives the terminal another size; the kernel tells the job by SIGWINCH.
    pub(crate) fn resize(&self, size: TerminalSize) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |pty| set_size(pty, size))
    }
}
