//! The oracle itself: right outcomes are taken, and wrong ones of each kind that a commit
//! can make are refused.

use crate::language::{Call, Program, Rename, Seed};
use crate::search::{Observed, Verdict, run_alone, start, verdict_on};

fn file(path: &str, text: &str) -> Seed {
    Seed::File(path.to_owned(), text.to_owned(), 0o644)
}

fn program(seeds: &[Seed], jobs: &[&[Call]]) -> Program {
    let with_pause = |calls: &&[Call]| calls.iter().map(|call| (0, call.clone())).collect();
    Program {
        seeds: seeds.to_vec(),
        jobs: jobs.iter().map(with_pause).collect(),
        rests: vec![0; jobs.len()],
    }
}

fn open(path: &str, how: &'static str) -> Call {
    Call::Open(0, path.to_owned(), how, 0o644)
}

fn write(text: &str) -> Call {
    Call::Write(0, text.to_owned())
}

/// What one job after the other answers and leaves.
fn serial(program: &Program) -> Observed {
    let mut state = start(program).0;
    let mut answers = Vec::new();
    for job in 0..program.jobs.len() {
        let (said, after) = run_alone(state, program, job);
        answers.push(said);
        state = after;
    }
    let tree = state.tree();
    Observed { answers, tree }
}

/// One right outcome must be taken, and after `plant` has made it wrong be refused.
fn check_refused(program: &Program, plant: impl FnOnce(&mut Observed)) {
    let mut observed = serial(program);
    assert_eq!(verdict_on(program, &observed), Verdict::OneMachine, "{program:?}");
    let right = observed.clone();
    plant(&mut observed);
    assert_ne!(right, observed, "nothing was planted");
    assert_eq!(
        verdict_on(program, &observed),
        Verdict::Wrong,
        "{program:?}\n{observed:#?}"
    );
}

fn set(observed: &mut Observed, path: &str, line: &str) {
    assert!(
        observed.tree.insert(path.to_owned(), line.to_owned()).is_some(),
        "{observed:?}"
    );
}

#[test]
fn a_lost_append_is_refused() {
    let (one, two) = ([open("log", "wca"), write("p1")], [open("log", "wca"), write("q1")]);
    check_refused(&program(&[], &[&one, &two]), |observed| {
        set(observed, "log", "file \"p1\" 0644")
    });
    // Both orders are right.
    let program = program(&[], &[&one, &two]);
    let mut observed = serial(&program);
    set(&mut observed, "log", "file \"q1p1\" 0644");
    assert_eq!(verdict_on(&program, &observed), Verdict::OneMachine);
}

#[test]
fn a_lost_update_in_place_is_refused() {
    let update = |text: &str| {
        [
            open("n", "+"),
            Call::Flock(0, 'x'),
            Call::Pread(0, 9, 0),
            Call::Pwrite(0, text.to_owned(), 2),
        ]
    };
    let jobs = [update("p1"), update("q1")];
    let program = program(&[file("n", "00")], &[&jobs[0], &jobs[1]]);
    // The second one has read what the first one did not leave.
    check_refused(&program, |observed| "2 00".clone_into(&mut observed.answers[1][2]));
    // Nobody reads, but the write of the first one is gone.
    let write_at = |text: &str, at| [open("n", "w"), Call::Pwrite(0, text.to_owned(), at)];
    let program = super::planted::program(&[file("n", "....")], &[&write_at("p1", 0), &write_at("q1", 2)]);
    check_refused(&program, |observed| set(observed, "n", "file \"..q1\" 0644"));
}

#[test]
fn the_removal_of_what_another_job_made_is_refused() {
    let remover = [Call::Unlink("d/x".to_owned()), Call::Rmdir("d".to_owned())];
    let maker = [open("d/y", "wcx"), write("q1")];
    let program = program(&[Seed::Dir("d".to_owned()), file("d/x", "")], &[&maker, &remover]);
    check_refused(&program, |observed| {
        observed.tree.retain(|path, _| !path.starts_with('d'));
        "0".clone_into(&mut observed.answers[1][1]);
    });
}

#[test]
fn a_broken_hard_link_is_refused() {
    let appender = [open("f", "wa"), write("p1")];
    let other = [Call::Link("f".to_owned(), "g".to_owned())];
    let seeds = [file("f", "x"), Seed::Hard("f".to_owned(), "kept".to_owned())];
    let program = program(&seeds, &[&appender, &other]);
    check_refused(&program, |observed| {
        set(observed, "f", "file \"xp1\" 0644");
        set(observed, "g", "file \"x\" 0644 at 1400000000, 2 names, file of g");
        set(observed, "kept", "file \"x\" 0644 at 1400000000, 2 names, file of g");
    });
    // A rename over a name must not write through to the other one.
    let mover = [
        open("new", "wct"),
        write("p1"),
        Call::Rename(Rename::Replace, "new".to_owned(), "f".to_owned()),
    ];
    let program = super::planted::program(&seeds, &[&mover, &[Call::Stat("kept".to_owned())]]);
    check_refused(&program, |observed| {
        set(observed, "f", "file \"p1\" 0644, 2 names, file of f");
        set(observed, "kept", "file \"p1\" 0644, 2 names, file of f");
    });
}

#[test]
fn a_mode_that_is_reverted_is_refused() {
    let program = program(
        &[file("p", "old")],
        &[&[Call::Chmod("p".to_owned(), 0o711)], &[open("p", "wct"), write("q1")]],
    );
    check_refused(&program, |observed| set(observed, "p", "file \"q1\" 0644"));
}

#[test]
fn two_exclusive_creations_of_one_name_are_refused() {
    for calls in [
        [open("lock", "wcx"), write("p1")],
        [Call::Symlink("x".to_owned(), "lock".to_owned()), Call::Close(0)],
    ] {
        let program = program(&[], &[&calls, &calls]);
        check_refused(&program, |observed| observed.answers[1] = observed.answers[0].clone());
    }
}

#[test]
fn a_stale_look_is_told_from_a_wrong_outcome() {
    let job = |own: &str, other: &str| [open(own, "wcx"), Call::Stat(other.to_owned())];
    let program_of = |jobs: [[Call; 2]; 2]| program(&[], &[&jobs[0], &jobs[1]]);
    let program = program_of([job("a", "b"), job("b", "a")]);
    let mut observed = serial(&program);
    // Both made their file and missed the other's: no order of calls does that.
    "ENOENT".clone_into(&mut observed.answers[1][1]);
    assert_eq!(verdict_on(&program, &observed), Verdict::Allowed);
    // What was never there is no stale look either.
    "0 dir 0755".clone_into(&mut observed.answers[1][1]);
    assert_eq!(verdict_on(&program, &observed), Verdict::Wrong);
}

#[test]
fn joined_directories_are_told_from_wrong_outcomes() {
    let make = [Call::Mkdir("d".to_owned(), 0o755)];
    let link = [Call::Symlink("x".to_owned(), "d".to_owned())];
    let both = |jobs: [&[Call]; 2], verdict| {
        let program = program(&[], &jobs);
        let mut observed = serial(&program);
        assert_eq!(verdict_on(&program, &observed), Verdict::OneMachine);
        "0".clone_into(&mut observed.answers[1][0]);
        assert_eq!(verdict_on(&program, &observed), verdict, "{observed:?}");
    };
    both([&make, &make], Verdict::Allowed);
    // Not for jobs that hold a lock, and not with what is no directory.
    let lock = [make[0].clone(), open("f", "+c"), Call::Flock(0, 'x')];
    both([&lock, &lock], Verdict::Wrong);
    both([&make, &lock], Verdict::Allowed);
    both([&link, &make], Verdict::Wrong);
}

#[test]
fn a_file_that_was_opened_and_is_gone_is_not_made() {
    let seeds = [Seed::File("f".to_owned(), "x".to_owned(), 0o644)];
    let opens = |more: Call| [open("mark", "wct"), open("f", "+c"), more];
    let program_of = |more| program(&seeds, &[&[Call::Unlink("f".to_owned())], &opens(more)]);
    let read = program_of(Call::Pread(0, 20, 0));
    let mut observed = serial(&read);
    set(&mut observed, "mark", "file \"\" 0644");
    observed.tree.remove("f");
    // It found the file, which the other job then removed.
    "1 x".clone_into(&mut observed.answers[1][2]);
    assert_eq!(verdict_on(&read, &observed), Verdict::OneMachine);
    // It saw the mark of a job that came after the removal, and yet the file.
    let mut later = read.clone();
    later.jobs[0].push((0, open("mark", "wct")));
    later.jobs[0].push((0, write("p")));
    observed.answers[0].extend(["0".to_owned(), "1".to_owned()]);
    assert_eq!(verdict_on(&later, &observed), Verdict::Allowed);
    // What it writes there is not lost.
    let written = program_of(write("q"));
    let mut observed = serial(&written);
    observed.tree.remove("f");
    assert_eq!(verdict_on(&written, &observed), Verdict::OneMachine);
    let mut later = written;
    later.jobs[0].push((0, open("mark", "wct")));
    later.jobs[0].push((0, write("p")));
    observed.answers[0].extend(["0".to_owned(), "1".to_owned()]);
    assert_eq!(verdict_on(&later, &observed), Verdict::Wrong);
}

#[test]
fn link_counts_of_a_view_are_allowed() {
    let seeds = [
        Seed::File("f".to_owned(), "x".to_owned(), 0o644),
        Seed::Hard("f".to_owned(), "g".to_owned()),
    ];
    let program = program(&seeds, &[&[Call::Stat("f".to_owned())], &[Call::Stat("g".to_owned())]]);
    let mut observed = serial(&program);
    assert!(observed.answers[0][0].ends_with(" 2n"), "{observed:?}");
    observed.answers[0][0] = observed.answers[0][0].replace(" 2n", " 1n");
    assert_eq!(verdict_on(&program, &observed), Verdict::Allowed);
}
