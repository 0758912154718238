//! A slot's plan on its way through a memory file: argv and environment have megabytes,
//! messages do not. Knows nothing of what is done with it.
//!
//! The format lives between two processes of one binary: fields in a fixed order,
//! numbers as 8 bytes, strings and lists with their length before them.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use termite_types::{JobSpec, Limit, Owner, Stdin, TerminalSize};

/// What a slot's own processes need to know. Paths are those of the spawner's root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct EncodedSlotPlan {
    pub lower: PathBuf,
    pub dir: PathBuf,
    pub shared: PathBuf,
    pub shim: Option<PathBuf>,
    pub program: CString,
    pub argv: Vec<CString>,
    pub env: Vec<CString>,
    pub cwd: CString,
    pub umask: u32,
    /// Signals that are ignored, the lowest bit for signal 1.
    pub ignored: u64,
    /// By how much it gives way to others.
    pub nice: u8,
    pub limits: Vec<Limit>,
    pub owner: Owner,
    pub hostname: OsString,
    pub size: Option<TerminalSize>,
    /// Numbers that the placeholder of inherited descriptors gets.
    pub inherited: Vec<u32>,
    /// Numbers that the two jobserver descriptors get.
    pub jobserver: Option<(u32, u32)>,
    pub stdio: [FdKind; 3],
    pub input_on_demand: bool,
    /// Standard input is a file on the client.
    pub input_seeks: bool,
    pub cookie: u64,
    /// A descriptor beside the plan is the lower layer; there is no guard.
    pub served: bool,
    /// Number of the job's first process; `None`: any.
    pub first_pid: Option<u32>,
}

/// What a descriptor of the job becomes; open ones travel beside the plan, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FdKind {
    Closed,
    Open,
    Terminal,
    Null,
}

/// The places of a plan as the spawner sees them.
pub(super) struct Places {
    pub lower: PathBuf,
    pub dir: PathBuf,
    pub shared: PathBuf,
    pub shim: Option<PathBuf>,
}

/// A string holds a NUL, or the plan in the file is cut off.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl EncodedSlotPlan {
    /// What a job needs of its specification; fails where a string holds a NUL.
    pub(super) fn new(
        places: Places,
        spec: &JobSpec,
        stdio: [FdKind; 3],
        cookie: u64,
        served: bool,
    ) -> Result<Self, Malformed> {
        let text = |os: &OsStr| CString::new(os.as_bytes()).map_err(|_| Malformed);
        let list = |list: &[OsString]| list.iter().map(|os| text(os)).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            lower: places.lower,
            dir: places.dir,
            shared: places.shared,
            shim: places.shim,
            program: text(spec.program.as_os_str())?,
            argv: list(&spec.argv)?,
            env: list(&spec.env)?,
            cwd: text(spec.cwd.as_os_str())?,
            umask: spec.umask,
            ignored: spec.ignored,
            nice: spec.nice,
            limits: spec.limits.clone(),
            owner: spec.owner.clone(),
            hostname: spec.hostname.clone(),
            size: spec.stdio.size,
            inherited: spec.inherited.clone(),
            jobserver: spec.jobserver.map(|pipe| (pipe.read, pipe.write)),
            stdio,
            input_on_demand: spec.stdio.has_input(),
            input_seeks: spec.stdio.stdin == Stdin::File,
            cookie,
            served,
            first_pid: spec.pids.map(|pids| pids.first),
        })
    }

    /// As bytes, field by field.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut to = Writer(Vec::new());
        for path in [&self.lower, &self.dir, &self.shared] {
            to.path(path);
        }
        to.bytes(self.shim.as_ref().map_or(b"", |path| path.as_os_str().as_bytes()));
        to.bytes(self.program.as_bytes());
        for list in [&self.argv, &self.env] {
            to.number(list.len() as u64);
            list.iter().for_each(|text| to.bytes(text.as_bytes()));
        }
        to.bytes(self.cwd.as_bytes());
        to.number(self.umask.into());
        to.number(self.ignored);
        to.number(self.nice.into());
        to.number(self.limits.len() as u64);
        for limit in &self.limits {
            [limit.resource.into(), limit.soft, limit.hard]
                .into_iter()
                .for_each(|number| to.number(number));
        }
        to.number(self.owner.uid.into());
        to.number(self.owner.gid.into());
        to.numbers(&self.owner.groups);
        to.bytes(self.hostname.as_bytes());
        let (rows, cols) = self.size.map_or((0, 0), |size| (size.rows, size.cols));
        to.number(rows.into());
        to.number(cols.into());
        to.numbers(&self.inherited);
        let (read, write) = self.jobserver.unwrap_or((u32::MAX, u32::MAX));
        to.number(read.into());
        to.number(write.into());
        self.stdio.into_iter().for_each(|kind| to.number(kind as u64));
        to.number(self.input_on_demand.into());
        to.number(self.input_seeks.into());
        to.number(self.cookie);
        to.number(self.served.into());
        to.number(self.first_pid.unwrap_or(0).into());
        to.0
    }

    /// Reads what [`Self::encode`] wrote.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader(bytes);
        let plan = Self {
            lower: from.path()?,
            dir: from.path()?,
            shared: from.path()?,
            shim: Some(from.path()?).filter(|path| !path.as_os_str().is_empty()),
            program: from.text()?,
            argv: from.list(Reader::text)?,
            env: from.list(Reader::text)?,
            cwd: from.text()?,
            umask: from.small()?,
            ignored: from.number()?,
            nice: from.small()?.try_into().map_err(|_| Malformed)?,
            limits: from.list(|from| {
                Ok(Limit {
                    resource: from.small()?,
                    soft: from.number()?,
                    hard: from.number()?,
                })
            })?,
            owner: Owner {
                uid: from.small()?,
                gid: from.small()?,
                groups: from.list(Reader::small)?,
            },
            hostname: OsString::from_vec(from.bytes()?.to_vec()),
            size: match (from.small()?, from.small()?) {
                (0, _) | (_, 0) => None,
                (rows, cols) => Some(TerminalSize {
                    rows: rows as u16,
                    cols: cols as u16,
                }),
            },
            inherited: from.list(Reader::small)?,
            jobserver: Some((from.small()?, from.small()?)).filter(|numbers| *numbers != (u32::MAX, u32::MAX)),
            stdio: [from.kind()?, from.kind()?, from.kind()?],
            input_on_demand: from.number()? != 0,
            input_seeks: from.number()? != 0,
            cookie: from.number()?,
            served: from.number()? != 0,
            first_pid: Some(from.small()?).filter(|first| *first != 0),
        };
        if from.0.is_empty() { Ok(plan) } else { Err(Malformed) }
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn numbers(&mut self, numbers: &[u32]) {
        self.number(numbers.len() as u64);
        numbers.iter().for_each(|&number| self.number(number.into()));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn path(&mut self, path: &Path) {
        self.bytes(path.as_os_str().as_bytes());
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Result<u64, Malformed> {
        let (head, tail) = self.0.split_first_chunk::<8>().ok_or(Malformed)?;
        self.0 = tail;
        Ok(u64::from_le_bytes(*head))
    }

    fn small(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.number()?).map_err(|_| Malformed)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        let (head, tail) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = tail;
        Ok(head)
    }

    fn path(&mut self) -> Result<PathBuf, Malformed> {
        Ok(PathBuf::from(OsStr::from_bytes(self.bytes()?)))
    }

    fn text(&mut self) -> Result<CString, Malformed> {
        CString::new(self.bytes()?).map_err(|_| Malformed)
    }

    fn list<T>(&mut self, one: impl Fn(&mut Self) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
        let len = self.number()?;
        (0..len).map(|_| one(self)).collect()
    }

    fn kind(&mut self) -> Result<FdKind, Malformed> {
        [FdKind::Closed, FdKind::Open, FdKind::Terminal, FdKind::Null]
            .get(self.number()? as usize)
            .copied()
            .ok_or(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> EncodedSlotPlan {
        EncodedSlotPlan {
            lower: "/store/mirror".into(),
            dir: "/store/jobs/1".into(),
            shared: "/store/jobs/1/s".into(),
            shim: None,
            program: c"/bin/sh".into(),
            argv: vec![c"sh".into(), c"".into(), c"\xff\xfe".into()],
            env: vec![c"A=1".into(); 3],
            cwd: c"/".into(),
            umask: 0o22,
            ignored: 1 << 63 | 1,
            nice: 19,
            limits: vec![Limit {
                resource: 7,
                soft: 1,
                hard: u64::MAX,
            }],
            owner: Owner {
                uid: 1,
                gid: 2,
                groups: vec![3, 4],
            },
            hostname: "h".into(),
            size: Some(TerminalSize { rows: 3, cols: 4 }),
            inherited: vec![5, 9],
            jobserver: Some((3, 4)),
            stdio: [FdKind::Closed, FdKind::Open, FdKind::Terminal],
            input_on_demand: true,
            input_seeks: false,
            cookie: u64::MAX - 1,
            served: true,
            first_pid: Some(300),
        }
    }

    #[test]
    fn a_plan_survives_its_file() {
        let plain = EncodedSlotPlan {
            shim: Some("/l".into()),
            size: None,
            jobserver: None,
            first_pid: None,
            ..plan()
        };
        for plan in [plan(), plain] {
            assert_eq!(EncodedSlotPlan::decode(&plan.encode()), Ok(plan));
        }
    }

    #[test]
    fn a_plan_cut_off_anywhere_is_malformed() {
        let bytes = plan().encode();
        for len in 0..bytes.len() {
            assert_eq!(EncodedSlotPlan::decode(&bytes[..len]), Err(Malformed), "at {len}");
        }
    }
}
