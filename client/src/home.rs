//! The commands that run on the client in the places of their stubs: they wait for room there, and
//! somebody looks at what they do while others wait. What is room, `core` decides.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs;
use std::rc::Rc;
use std::time::Duration;
use termite_core::activity::Activity;
use termite_core::home::Home;
use termite_types::BuildId;
use tokio::sync::oneshot;

/// How often those inside are looked at, while others wait.
const LOOK: Duration = Duration::from_millis(200);
/// Processes of one command that are looked at.
const PROCESSES: usize = 256;

/// The place, with a bounded number of commands in it.
pub(crate) struct Room {
    home: RefCell<Home>,
    /// Those inside and those that wait, by number.
    guests: RefCell<HashMap<u64, Guest>>,
    doors: RefCell<HashMap<u64, oneshot::Sender<()>>>,
    last: Cell<u64>,
    is_looked_at: Cell<bool>,
}

struct Guest {
    /// What becomes the command, once it is inside.
    process: u32,
    build: BuildId,
}

/// A command is inside, or waits; dropped when it is neither.
pub(crate) struct Stay {
    room: Rc<Room>,
    id: u64,
}

impl Room {
    /// Nobody is inside.
    pub(crate) fn new() -> Rc<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Rc::new(Self {
            home: RefCell::new(Home::new(processors)),
            guests: RefCell::default(),
            doors: RefCell::default(),
            last: Cell::new(0),
            is_looked_at: Cell::new(false),
        })
    }

    /// Resolves when there is room for one more command of a build, which this process becomes.
    pub(crate) async fn enter(self: Rc<Self>, process: u32, build: BuildId) -> Stay {
        self.last.set(self.last.get() + 1);
        let stay = Stay {
            id: self.last.get(),
            room: self.clone(),
        };
        self.guests.borrow_mut().insert(stay.id, Guest { process, build });
        if !self.home.borrow_mut().ask(stay.id) {
            let (open, opened) = oneshot::channel();
            self.doors.borrow_mut().insert(stay.id, open);
            self.have_a_look();
            // It is not dropped while the stay lasts.
            let _ = opened.await;
        }
        stay
    }

    /// What each command that has not to wait does at the moment, by number, and whose it is.
    pub(crate) fn activity(&self) -> HashMap<u64, (BuildId, Activity)> {
        let doors = self.doors.borrow();
        let guests = self.guests.borrow();
        let inside = guests.iter().filter(|(id, _)| !doors.contains_key(id));
        inside
            .map(|(id, guest)| (*id, (guest.build, activity_of(guest.process))))
            .collect()
    }

    fn open(&self, admitted: Vec<u64>) {
        for id in admitted {
            if let Some(door) = self.doors.borrow_mut().remove(&id) {
                // Who does not wait any more leaves.
                let _ = door.send(());
            }
        }
    }

    /// Looks at those inside as long as somebody waits.
    fn have_a_look(self: &Rc<Self>) {
        if self.is_looked_at.replace(true) {
            return;
        }
        let room = self.clone();
        tokio::task::spawn_local(async move {
            while !room.doors.borrow().is_empty() {
                tokio::time::sleep(LOOK).await;
                let admitted = {
                    let guests = room.guests.borrow();
                    let activity = |id| {
                        guests
                            .get(&id)
                            .map_or(Activity::default(), |guest| activity_of(guest.process))
                    };
                    room.home.borrow_mut().look(LOOK, activity)
                };
                room.open(admitted);
            }
            room.is_looked_at.set(false);
        });
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.room.guests.borrow_mut().remove(&self.id);
        self.room.doors.borrow_mut().remove(&self.id);
        let admitted = self.room.home.borrow_mut().leave(self.id);
        self.room.open(admitted);
    }
}

/// Of a process with its descendants, but those that have left it.
fn activity_of(process: u32) -> Activity {
    let mut found = vec![process];
    let (mut at, mut sum) = (0, Activity::default());
    while let Some(process) = found.get(at).copied() {
        sum = sum.and(Activity::of_stat(&read(process, "stat")));
        let children = read(process, &format!("task/{process}/children"));
        let room = PROCESSES.saturating_sub(found.len());
        found.extend(
            children
                .split_ascii_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok())
                .take(room),
        );
        at += 1;
    }
    sum
}

/// What proc(5) has of a process; nothing once it has ended.
fn read(process: u32, name: &str) -> String {
    fs::read_to_string(format!("/proc/{process}/{name}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, Signal, kill_process_group};
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};
    use tokio::task::LocalSet;

    fn start(script: &str) -> Child {
        Command::new("sh")
            .args(["-c", script])
            .process_group(0)
            .spawn()
            .unwrap()
    }

    /// Ends them and their children whatever the test does.
    struct Started(Vec<Child>);

    impl Drop for Started {
        fn drop(&mut self) {
            for child in &mut self.0 {
                let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
                let _ = child.wait();
            }
        }
    }

    #[tokio::test]
    async fn what_sleeps_makes_room_and_what_runs_does_not() {
        let work = async {
            let room = Room::new();
            let processors = std::thread::available_parallelism().map_or(1, usize::from);
            let spins = || start("while :; do :; done");
            let mut busy = Started((1..processors).map(|_| spins()).collect());
            // Its child sleeps, and it waits for that.
            busy.0.push(start("sleep 1000; :"));
            let mut stays = Vec::new();
            for child in &busy.0 {
                stays.push(room.clone().enter(child.id(), BuildId(1)).await);
            }
            let more = spins();
            let more = Started(vec![more]);
            let stay = room.clone().enter(more.0[0].id(), BuildId(1)).await;
            // Nobody sleeps any more who counts.
            let last = room.clone().enter(1, BuildId(1));
            tokio::pin!(last);
            let soon = tokio::time::timeout(LOOK * 4, &mut last);
            assert!(soon.await.is_err(), "all processors are in use");
            drop(stay);
            last.await;
        };
        LocalSet::new().run_until(work).await;
    }
}
