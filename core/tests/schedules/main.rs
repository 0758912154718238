//! Many jobs at once through the machine, the claims and a model of the tree, in random
//! orders of all that can happen.
//!
//! `TERMITE_SCHEDULES` says how many schedules are run (2,000 if not said), `TERMITE_SEED`
//! replays one.

mod random;
mod script;
mod tree;
mod world;

use random::Random;
use script::{Faults, Plan};
use world::{Outcome, World};

const SCHEDULES: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn run(seed: u64) -> Result<Outcome, String> {
    let mut random = Random::new(seed);
    let plan = Plan::random(&mut random);
    World::new(&plan, random).run()
}

#[test]
fn every_schedule_ends_as_some_serial_order() {
    let seeds = match number("TERMITE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TERMITE_SCHEDULES").unwrap_or(SCHEDULES),
    };
    let mut all = Outcome::default();
    for seed in seeds {
        match run(seed) {
            Ok(outcome) => all += outcome,
            Err(why) => panic!("TERMITE_SEED={seed}: {why}"),
        }
    }
    println!("{all:?}");
    if all.jobs > 10_000 {
        let seen = [
            all.conflicts,
            all.halves,
            all.homes,
            all.left,
            all.lost,
            all.signaled,
            all.late,
        ];
        assert!(seen.iter().all(|count| *count > 0), "some way is never taken: {all:?}");
    }
}

#[test]
fn a_storm_on_one_counter_needs_few_executions() {
    for slots in [1, 8, 64] {
        let mut worst = 0;
        for seed in 0..20 {
            let plan = Plan::storm(200, slots);
            let outcome = World::new(&plan, Random::new(seed)).run().unwrap();
            let most = 200 * 3 / 2;
            assert!(outcome.executions <= most, "{slots} slots, seed {seed}: {outcome:?}");
            assert_eq!(
                (outcome.committed, outcome.homes),
                (200, 0),
                "{slots} slots, seed {seed}"
            );
            worst = worst.max(outcome.executions);
        }
        println!("{slots} slots: at most {worst} executions");
    }
}

#[test]
fn a_storm_that_history_knows_needs_no_rerun() {
    let plan = Plan::storm(200, 64);
    let first = World::new(&plan, Random::new(1)).run().unwrap();
    let again = World::with_history(&plan, Random::new(2), first.history).run().unwrap();
    assert_eq!((again.executions, again.conflicts), (200, 0));
}

#[test]
fn compiles_are_not_held_up_by_one_output_that_two_of_them_write() {
    let plan = Plan::compiles(400, 16);
    let outcome = World::new(&plan, Random::new(3)).run().unwrap();
    assert!(outcome.claimed < 40, "{outcome:?}");
    assert!(outcome.executions < 420, "{outcome:?}");
}

#[test]
fn a_schedule_without_faults_needs_no_client() {
    let mut all = Outcome::default();
    for seed in 0..500 {
        let mut random = Random::new(seed);
        let plan = Plan {
            faults: Faults::default(),
            ..Plan::random(&mut random)
        };
        all += World::new(&plan, random).run().unwrap();
    }
    assert_eq!((all.homes, all.left, all.lost, all.signaled), (0, 0, 0, 0), "{all:?}");
    assert!(all.executions * 2 < all.jobs * 3, "{all:?}");
}
