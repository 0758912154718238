//! Small builds whose jobs meet at one file or directory, each for one kind of fault of a
//! commit: what they leave, print and answer must be as without termite, in every mode.
//!
//! `TERMITE_COMMITS` names the cases to be tried, with commas between them.

#![forbid(unsafe_code)]

mod case;

use anyhow::{Context, Result, ensure};
use case::{Case, Observed};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;
use termite_e2e::{Client, Mode, Scene, Topology, User};

/// Cases at once: they mostly sleep.
const LANES: usize = 4;
/// Each has as many jobs at once as it asks make for, on any machine.
const SLOTS: usize = 4 * LANES;

/// The cases, and what each of them leaves without termite.
struct Expected {
    cases: Vec<(Case, Observed)>,
    /// Each has a directory of its own there, the same one in each run.
    place: PathBuf,
}

/// All cases, or those that were asked for.
fn chosen() -> Result<Vec<Case>> {
    let mut cases = Case::all()?;
    if let Ok(names) = std::env::var("TERMITE_COMMITS") {
        cases.retain(|case| names.split(',').any(|name| name == case.name));
    }
    ensure!(!cases.is_empty(), "no such cases");
    Ok(cases)
}

/// Carries out `work` for each item in several threads, and gathers the errors by name.
fn in_lanes<T: Sync>(
    items: &[T],
    name: impl Fn(&T) -> &str + Sync,
    work: impl Fn(&T) -> Result<()> + Sync,
) -> Vec<String> {
    let waiting: Mutex<VecDeque<_>> = Mutex::new(items.iter().collect());
    let failures = Mutex::new(Vec::new());
    let next = || waiting.lock().unwrap().pop_front();
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some(item) = next() {
                    if let Err(error) = work(item) {
                        failures.lock().unwrap().push(format!("{}: {error:#}", name(item)));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    failures
}

impl Expected {
    fn find(scene: &Scene) -> Result<Self> {
        let client = Client::new(scene, "plain", "")?;
        let cases = chosen()?;
        cases.iter().try_for_each(|case| case.check_installed(&client))?;
        let place = scene.dir("p")?;
        let found = Mutex::new(Vec::new());
        let failures = in_lanes(
            &cases,
            |case| &case.name,
            |case| {
                let observed = case.run_plain(scene, &client, &place.join(&case.name))?;
                found.lock().unwrap().push((case.name.clone(), observed));
                Ok(())
            },
        );
        ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
        let mut found = found.into_inner()?;
        found.sort_by(|one, two| one.0.cmp(&two.0));
        let observed = found.into_iter().map(|(_, observed)| observed);
        let cases = cases.into_iter().zip(observed).collect();
        Ok(Self { cases, place })
    }

    /// Runs all cases in one mode, and answers what went wrong.
    fn compare(&self, scene: &Scene, mode: Mode) -> Result<Vec<String>> {
        let begun = Instant::now();
        let running = mode.start(scene, SLOTS)?;
        let is_promised = |case: &Case| mode.fault != "fuse" || case.unseen.is_none();
        let (cases, exceptions): (Vec<_>, Vec<_>) = self.cases.iter().partition(|(case, _)| is_promised(case));
        for (case, _) in exceptions {
            let reason = case.unseen.as_deref().unwrap_or_default();
            println!("{mode}: {} is not promised: {reason}", case.name);
        }
        let failures = in_lanes(
            &cases,
            |(case, _)| &case.name,
            |(case, expected)| {
                let dir = self.place.join(&case.name);
                let (observed, outcome) = case.run_termite(scene, &running.client, &dir)?;
                observed.check_same(expected, case)?;
                running.check_ran_on_workers(scene, &outcome)
            },
        );
        let all = cases.len();
        println!(
            "{mode}: {} of {all} cases right, {:.1?}",
            all - failures.len(),
            begun.elapsed()
        );
        running.stop().with_context(|| mode.to_string())?;
        Ok(failures
            .into_iter()
            .map(|failure| format!("{mode}: {failure}"))
            .collect())
    }
}

fn every_mode(user: User, place: Topology) -> Result<()> {
    let scene = Scene::new(user)?;
    let expected = Expected::find(&scene)?;
    let mut failures = Vec::new();
    for mode in Mode::all(&scene, place)? {
        failures.extend(expected.compare(&scene, mode)?);
    }
    scene.finish()?;
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}

#[test]
fn commits_on_the_embedded_worker() -> Result<()> {
    every_mode(User::Me, Topology::Embedded)
}

#[test]
fn commits_of_two_workers() -> Result<()> {
    every_mode(User::Me, Topology::TwoWorkers)
}

#[test]
fn commits_of_an_ordinary_user_on_the_embedded_worker() -> Result<()> {
    every_mode(User::Ordinary, Topology::Embedded)
}

#[test]
fn commits_of_an_ordinary_user_on_two_workers() -> Result<()> {
    every_mode(User::Ordinary, Topology::TwoWorkers)
}

/// A case that ends now so and now otherwise would prove nothing.
#[test]
fn cases_agree_with_themselves_without_termite() -> Result<()> {
    for user in [User::Me, User::Ordinary] {
        let scene = Scene::new(user)?;
        let expected = Expected::find(&scene)?;
        let client = Client::new(&scene, "again", "")?;
        let failures = in_lanes(
            &expected.cases,
            |(case, _)| &case.name,
            |(case, observed)| {
                let dir = expected.place.join(&case.name);
                case.run_plain(&scene, &client, &dir)?.check_same(observed, case)
            },
        );
        scene.finish()?;
        ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    }
    Ok(())
}
