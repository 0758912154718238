//! Records and what they mean together.

use super::*;

const ONE: RequestId = RequestId(1);

fn answer() -> Answer {
    Answer {
        end: Ended::Signaled(9),
        read_input: 7,
        sent: [1, 2],
        output: vec![(1, b"out".to_vec()), (2, Vec::new())],
        is_output_lost: true,
    }
}

fn each() -> Vec<Record> {
    let opened = Record::Opened {
        protocol: 7,
        mark: u64::MAX,
    };
    let staging = Record::Staging {
        request: ONE,
        caller: 42,
        dirs: vec!["/a".into(), "/b\n/c".into()],
    };
    let begun = Record::Begun {
        request: ONE,
        caller: 42,
        path: "/a/f".into(),
        others: 3,
        answer: answer(),
    };
    let moving = Record::Moving {
        request: ONE,
        from: "/a/g".into(),
        temporary: "/a/t".into(),
        to: "/a/h".into(),
    };
    vec![opened, staging, begun, moving, Record::Done(ONE), Record::Undone(ONE)]
}

fn file(records: &[Record]) -> Vec<u8> {
    records.iter().flat_map(|record| record.encode().unwrap()).collect()
}

#[test]
fn records_are_read_as_written() {
    for record in each() {
        let bytes = record.encode().unwrap();
        assert_eq!(Record::decode(&bytes[HEAD..]), Some(record));
    }
}

#[test]
fn the_last_word_on_a_job_counts() {
    let stage = |count: usize| {
        let mut state = JournalState::read(&file(&each()[..count]));
        assert_eq!(
            (state.end, state.opened),
            (JournalEnd::Whole, (count > 0).then_some((7, u64::MAX)))
        );
        state.entries.remove(&ONE)
    };
    assert_eq!((stage(0), stage(1)), (None, None));
    let staging = stage(2).unwrap();
    assert_eq!((staging.stage, staging.dirs.len()), (CommitStage::Untouched, 2));
    let moving = stage(4).unwrap();
    assert!(matches!(moving.stage, CommitStage::Begun { others: 3, .. }));
    assert_eq!((moving.caller, moving.moves.len()), (42, 1));
    let done = stage(5).unwrap();
    assert_eq!(done.stage, CommitStage::Done(answer()));
    assert!(done.dirs.is_empty() && done.moves.is_empty());
    assert_eq!(stage(6), None);
}

#[test]
fn a_record_that_is_cut_off_is_not_written() {
    let whole = file(&each()[..3]);
    let before = file(&each()[..2]).len();
    for length in before + 1..whole.len() {
        let state = JournalState::read(&whole[..length]);
        assert_eq!(state.end, JournalEnd::Torn);
        assert_eq!(state.entries[&ONE].stage, CommitStage::Untouched);
    }
}

#[test]
fn a_corrupt_record_ends_the_reading() {
    let whole = file(&each()[..5]);
    let (second, third) = (file(&each()[..2]).len(), file(&each()[..3]).len());
    for at in second + 4..third {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        let state = JournalState::read(&bytes);
        assert_eq!(state.end, JournalEnd::Corrupt(second));
        assert_eq!(state.entries[&ONE].stage, CommitStage::Untouched);
    }
}

#[test]
fn what_does_not_begin_as_a_journal_is_none() {
    for bytes in [file(&each()[1..]), vec![0xff; 99], vec![0; 64]] {
        let state = JournalState::read(&bytes);
        assert!(state.opened.is_none() && state.entries.is_empty());
        assert_eq!(state.end, JournalEnd::Corrupt(0));
    }
}

#[test]
fn a_record_has_a_bound() {
    let mut answer = answer();
    answer.output = vec![(1, vec![0; RECORD_MAX])];
    let begun = Record::Begun {
        request: ONE,
        caller: 0,
        path: "/".into(),
        others: 0,
        answer,
    };
    assert_eq!(begun.encode(), None);
}
