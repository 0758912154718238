//! Frames from the daemon to a caller. Knows each field's place in the schema.

use super::private::Coded;
use super::{FrameError, ToCaller};
use crate::shim_capnp::to_caller;
use crate::{WireError, checked};
use capnp::message::{Builder, HeapAllocator, Reader};
use capnp::serialize::OwnedSegments;
use std::os::unix::ffi::OsStrExt;

impl Coded for ToCaller {
    fn size_hint(&self) -> usize {
        match self {
            Self::Local { reason, tools, .. } => reason.len() + tools.len(),
            Self::Output { bytes, .. } => bytes.len(),
            Self::Report(text) | Self::Error(text) => text.len(),
            Self::WantInput | Self::Exited { .. } | Self::Signaled { .. } => 0,
        }
    }

    fn write(&self, to: &mut Builder<HeapAllocator>) {
        let mut to = to.init_root::<to_caller::Builder<'_>>();
        match self {
            Self::Local {
                reason,
                as_driver,
                tell,
                tools,
            } => {
                let mut to = to.init_local();
                to.set_reason(&reason[..]);
                to.set_as_driver(*as_driver);
                to.set_tell(*tell);
                to.set_tools(tools.as_bytes());
            }
            Self::Output { fd, bytes } => {
                let mut to = to.init_output();
                to.set_fd(*fd);
                to.set_bytes(bytes);
            }
            Self::WantInput => to.set_want_input(()),
            Self::Exited { status, read_input } => {
                let mut to = to.init_exited();
                to.set_status(*status);
                to.set_read_input(*read_input);
            }
            Self::Signaled { signal, read_input } => {
                let mut to = to.init_signaled();
                to.set_signal(*signal);
                to.set_read_input(*read_input);
            }
            Self::Report(json) => to.set_report(&json[..]),
            Self::Error(why) => to.set_error(&why[..]),
        }
    }

    /// The daemon answers another protocol with an error, so no number is looked at here.
    fn read(from: &Reader<OwnedSegments>, _first: bool) -> Result<Self, FrameError> {
        let from = from.get_root::<to_caller::Reader<'_>>().map_err(WireError::from)?;
        Ok(read(from)?)
    }
}

fn read(from: to_caller::Reader<'_>) -> Result<ToCaller, WireError> {
    Ok(match from.which()? {
        to_caller::Local(local) => ToCaller::Local {
            reason: checked::text("reason", local.get_reason()?)?,
            as_driver: local.get_as_driver(),
            tell: local.get_tell(),
            tools: checked::no_nul("tools", local.get_tools()?)?,
        },
        to_caller::Output(output) => ToCaller::Output {
            fd: checked::within("output descriptor", output.get_fd(), 1, 2)?,
            bytes: output.get_bytes()?.to_vec(),
        },
        to_caller::WantInput(()) => ToCaller::WantInput,
        to_caller::Exited(exited) => ToCaller::Exited {
            status: exited.get_status(),
            read_input: exited.get_read_input(),
        },
        to_caller::Signaled(signaled) => ToCaller::Signaled {
            signal: checked::signal(signaled.get_signal())?,
            read_input: signaled.get_read_input(),
        },
        to_caller::Report(json) => ToCaller::Report(checked::text("report", json?)?),
        to_caller::Error(why) => ToCaller::Error(checked::text("error", why?)?),
    })
}
