//! Random programs of parallel jobs made of acts that commute: on one machine every order
//! of their calls leaves the same files, but for the order of lines in logs. Makes and
//! writes them; does not know who runs them.

use anyhow::Result;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Directories that jobs share, some of which are there at the start.
const DIRS: [&str; 6] = ["d", "d/e", "d/e/f", "s", "s/e", "there/e"];
/// Logs: one with two names, one that is there, and some that jobs make.
pub(crate) const LOGS: [&str; 6] = ["log", "log.link", "there/log", "new.log", "there/new.log", "mode"];
/// Names of a file that is never replaced.
const BASES: [&str; 2] = ["base", "there/base"];
/// How `count` locks, and the file that all jobs lock in this way.
const COUNTERS: [(&str, &str); 3] = [
    ("flock", "counter.flock"),
    ("posix", "counter.record"),
    ("open", "counter.record"),
];
/// Bytes of the file in which each job has places of its own.
const PLACES: usize = 64;

/// What one job does to files that other jobs use as well.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Makes directories (`mkdir -p`) and a file of its own in them.
    Share(&'static str),
    /// Appends a line.
    Append(&'static str),
    /// Counts up under a lock of the counter itself; takes so many milliseconds.
    Count(&'static str, &'static str, u8),
    /// Counts up under flock(1) of another file; the counter is replaced (`mv`) or written.
    CountBesides(bool),
    /// Counts up under a directory that it makes and removes.
    CountByMkdir,
    /// Counts up under a symbolic link that it makes and removes.
    CountBySymlink,
    /// Counts up in a database.
    CountInSqlite,
    /// Takes the first free number by a file made with O_EXCL.
    TicketFile,
    /// Takes the first free number by a directory.
    TicketDir,
    /// Takes the first free number by a further name of a file.
    TicketLink,
    /// Takes the next number under flock(1) and names an output by it.
    Number,
    /// Counts the names of a directory under flock(1) and adds one.
    List,
    /// Gives a file one more name.
    Link(&'static str),
    /// Replaces a file that has two names, unless it is up to date.
    MoveIfChanged,
    /// Changes a mode; `Append("mode")` writes to the same file.
    Chmod,
    /// Overwrites a file with what all jobs write there.
    Overwrite,
    /// Writes a byte of a file in place.
    WritePlace,
    /// Edits its line of a file (`sed -i`) under flock(1).
    Edit,
    /// Writes a file that is named by its process number and renames it.
    Temporary,
    /// Makes a directory, fills and removes it.
    OwnDir,
    /// Removes a directory of its own that was there.
    RemoveOwn,
    /// Removes a file that several jobs remove.
    RemoveShared,
    /// Leaves a mark, and one more file where the marks of all such acts are there: the last one
    /// at least finds them.
    Mark,
}

/// An act, and the milliseconds that the job sleeps before it.
#[derive(Clone, Debug)]
pub(crate) struct Step(pub u8, pub Act);

/// The steps of each job.
#[derive(Clone)]
pub(crate) struct Program {
    /// From 4 to 12 of them.
    pub jobs: Vec<Vec<Step>>,
}

/// Programs of 4 to 12 jobs.
pub(crate) fn programs() -> impl Strategy<Value = Program> {
    vec(vec(step(), 1..7), 4..13).prop_map(|jobs| Program { jobs })
}

fn step() -> impl Strategy<Value = Step> {
    (prop_oneof![1 => Just(0u8), 3 => 0..80u8], act()).prop_map(|(pause, act)| Step(pause, act))
}

fn act() -> impl Strategy<Value = Act> {
    let counters = (select(&COUNTERS), 0..30u8).prop_map(|((how, file), pause)| Act::Count(how, file, pause));
    let by_names = select(vec![
        Act::CountByMkdir,
        Act::CountBySymlink,
        Act::CountInSqlite,
        Act::CountBesides(true),
        Act::CountBesides(false),
        Act::TicketFile,
        Act::TicketDir,
        Act::TicketLink,
        Act::Number,
        Act::List,
    ]);
    let files = select(vec![
        Act::MoveIfChanged,
        Act::Chmod,
        Act::Overwrite,
        Act::WritePlace,
        Act::Edit,
        Act::Temporary,
        Act::OwnDir,
        Act::RemoveOwn,
        Act::RemoveShared,
        Act::Mark,
    ]);
    prop_oneof![
        4 => select(&DIRS).prop_map(Act::Share),
        5 => select(&LOGS).prop_map(Act::Append),
        3 => counters,
        7 => by_names,
        2 => select(&BASES).prop_map(Act::Link),
        7 => files,
    ]
}

impl Act {
    /// As a line of sh. `id` is the act's own, with no character that is special anywhere.
    fn line(&self, id: &str, job: usize, place: usize) -> String {
        match self {
            Self::Share(dir) => format!("mkdir -p {dir} && echo {id} > {dir}/{id}"),
            Self::Append(log) => format!("echo {id} >> {log}"),
            Self::Count(how, file, pause) => format!("./count {how} {file} {pause}"),
            Self::CountBesides(true) => {
                format!(
                    "flock lock.moved sh -c 'echo $((`cat counter.moved` + 1)) > new.{id}; mv new.{id} counter.moved'"
                )
            }
            Self::CountBesides(false) => {
                "flock lock.written sh -c 'n=`cat counter.written`; echo $((n + 1)) > counter.written'".to_owned()
            }
            Self::CountByMkdir => counted_under("mkdir lock.dir", "mkdir", "rmdir lock.dir"),
            Self::CountBySymlink => counted_under("ln -s $$ lock.link", "symlink", "rm lock.link"),
            Self::CountInSqlite => {
                "sqlite3 -cmd '.timeout 30000' db 'begin immediate; update t set n = n + 1; commit'".to_owned()
            }
            Self::TicketFile => ticket("(set -C; : > ticket.$i)"),
            Self::TicketDir => ticket("mkdir ticket.dir.$i"),
            Self::TicketLink => ticket("ln ticket ticket.link.$i"),
            Self::Number => {
                "n=`flock lock.number sh -c 'n=\\`cat next\\`; echo $((n + 1)) > next; echo $n'`; : > number.$n"
                    .to_owned()
            }
            Self::List => "flock lock.list sh -c 'n=`ls listed | wc -l`; : > listed/$n'".to_owned(),
            Self::Link(base) => format!("ln {base} further.{id}"),
            Self::MoveIfChanged => {
                format!("echo new > tmp.{id}.$$; cmp -s tmp.{id}.$$ made || mv tmp.{id}.$$ made; rm -f tmp.{id}.$$")
            }
            Self::Chmod => "chmod 755 mode".to_owned(),
            Self::Overwrite => "echo over > written".to_owned(),
            Self::WritePlace => format!("printf x | dd of=places bs=1 seek={place} conv=notrunc status=none"),
            Self::Edit => format!("flock lock.edit sed -i 's/^line {job}$/edited/' lines"),
            Self::Temporary => format!("echo {id} > own.$$; sleep .02; mv own.$$ moved.{id}"),
            Self::OwnDir => format!("mkdir -p own.{id}/a && : > own.{id}/a/f && rm -rf own.{id}"),
            Self::RemoveOwn => format!("rm -rf mine.{job}"),
            Self::RemoveShared => "rm -f gone; rm -rf gone.dir".to_owned(),
            Self::Mark => format!(
                ": > mark.{id}; all=; for mark in `cat marks`; do [ -e mark.$mark ] || all=not; done; \
                 [ \"$all\" ] || : > marked"
            ),
        }
    }
}

fn counted_under(lock: &str, counter: &str, unlock: &str) -> String {
    format!(
        "until {lock} 2> /dev/null; do sleep .01; done; \
         n=`cat counter.{counter}`; echo $((n + 1)) > counter.{counter}; {unlock}"
    )
}

fn ticket(take: &str) -> String {
    format!("i=1; until {take} 2> /dev/null; do i=$((i + 1)); done")
}

impl Program {
    /// Writes the files that the program begins with to the empty directory `dir`, where
    /// `count` is the compiled program of that name.
    pub(crate) fn lay_out(&self, dir: &Path, count: &Path) -> Result<()> {
        for below in ["there", "listed", "gone.dir/a"] {
            fs::create_dir_all(dir.join(below))?;
        }
        for name in ["flock", "record", "moved", "written", "mkdir", "symlink"] {
            fs::write(dir.join(format!("counter.{name}")), "0\n")?;
        }
        for name in ["log", "there/log", "mode", "base", "made", "written", "ticket", "gone"] {
            fs::write(dir.join(name), format!("{name} at the start\n"))?;
        }
        for (name, other) in [("log", "log.link"), ("base", "there/base"), ("made", "made.kept")] {
            fs::hard_link(dir.join(name), dir.join(other))?;
        }
        fs::write(dir.join("gone.dir/a/f"), "")?;
        fs::write(dir.join("next"), "1\n")?;
        fs::write(dir.join("places"), ".".repeat(PLACES))?;
        fs::copy(count, dir.join("count"))?;
        fs::set_permissions(dir.join("count"), fs::Permissions::from_mode(0o755))?;
        let mut goals = String::new();
        let (mut lines, mut marks) = (String::new(), String::new());
        for (job, steps) in self.jobs.iter().enumerate() {
            fs::create_dir_all(dir.join(format!("mine.{job}/a")))?;
            fs::write(dir.join(format!("mine.{job}/a/f")), "")?;
            fs::write(dir.join(format!("job{job}.sh")), script(job, steps))?;
            goals += &format!(" job{job}");
            lines += &format!("line {job}\n");
            let marking = (0..).zip(steps).filter(|(_, Step(_, act))| matches!(act, Act::Mark));
            marking.for_each(|(number, _)| marks += &format!("{}\n", id(job, number)));
        }
        fs::write(dir.join("marks"), marks)?;
        fs::write(dir.join("lines"), lines)?;
        let makefile = format!("all:{goals}\n{}:\n\t@sh ./$@.sh\n", goals.trim());
        Ok(fs::write(dir.join("Makefile"), makefile)?)
    }
}

/// Of an act.
fn id(job: usize, number: usize) -> String {
    format!("j{job}.{number}")
}

/// Each act says how it ended.
fn script(job: usize, steps: &[Step]) -> String {
    let mut text = String::new();
    for (number, Step(pause, act)) in steps.iter().enumerate() {
        let place = (job * 8 + number) % PLACES;
        let id = id(job, number);
        text += &format!("sleep .{pause:03}\n{}\necho {id}: $?\n", act.line(&id, job, place));
    }
    text
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let jobs = self.jobs.iter().enumerate();
        jobs.map(|(job, steps)| (job, script(job, steps)))
            .try_for_each(|(job, script)| write!(f, "\n# job {job}\n{script}"))
    }
}
