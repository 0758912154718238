//! Reports, settings, and what is not built yet.

use crate::stage::{Stage, text};
use termite_wire::frame::Control;

const LAST: &str = r#"{"exit":0,"wall_s":1.5,"jobs":{"total":3,"remote":2,"local":1},"local_reasons":{"rule: git":1},"client_cpu_s":0.25,"bytes":{"sent":10,"received":20},"reruns":0,"rollbacks":0}"#;
const STATUS: &str = r#"{"pid":7,"uptime_s":3.0,"version":"0.1.0","workers":[{"address":"unix:/w","state":"up","slots":4,"running":1}],"running":[{"id":"ab.1","command":"cc -c x.c","worker":"unix:/w","seconds":0.5}]}"#;

#[test]
fn last_for_people_and_for_programs() {
    let stage = Stage::new();
    let daemon = stage.answer(vec![Ok(LAST), Ok(LAST), Ok("null")]);
    let json = stage.termite(&["last", "--json"]).output().unwrap();
    assert_eq!(text(&json.stdout).trim(), LAST);
    let people = stage.termite(&["last"]).output().unwrap();
    assert!(
        text(&people.stdout).contains("3 (2 on the fleet, 1 local)"),
        "{people:?}"
    );
    let none = stage.termite(&["last"]).output().unwrap();
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).contains("no build under"), "{none:?}");
    let work = stage.path("work").canonicalize().unwrap();
    assert!(
        daemon
            .join()
            .unwrap()
            .iter()
            .all(|asked| *asked == Control::Last(work.clone()))
    );
}

#[test]
fn status_with_and_without_a_daemon() {
    let stage = Stage::new();
    let none = stage.termite(&["status", "--json"]).output().unwrap();
    assert_eq!((none.status.code(), text(&none.stdout)), (Some(1), "null\n".into()));
    assert!(text(&none.stderr).contains("no daemon listens on"), "{none:?}");
    let daemon = stage.answer(vec![Ok(STATUS), Ok(STATUS), Err("no")]);
    let people = stage.termite(&["status"]).output().unwrap();
    let shown = text(&people.stdout);
    assert!(
        shown.contains("unix:/w: up, 1 of 4 slots in use") && shown.contains("cc -c x.c"),
        "{shown}"
    );
    assert_eq!(
        text(&stage.termite(&["status", "--json"]).output().unwrap().stdout).trim(),
        STATUS
    );
    let refused = stage.termite(&["status"]).output().unwrap();
    assert_eq!(
        (refused.status.code(), text(&refused.stderr)),
        (Some(1), "termite: no\n".into())
    );
    daemon.join().unwrap();
}

#[test]
fn every_setting_with_its_origin() {
    let stage = Stage::new();
    std::fs::write(stage.path("work/.termite.toml"), "slots = 3\n").unwrap();
    let json = stage.termite(&["config", "--json"]).output().unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let slots = shown.as_array().unwrap().iter().find(|s| s["key"] == "slots").unwrap();
    assert_eq!(slots["value"], "3");
    assert!(
        slots["origin"].as_str().unwrap().ends_with("work/.termite.toml:1"),
        "{slots}"
    );
    let people = text(&stage.termite(&["config"]).output().unwrap().stdout);
    assert!(
        people.contains("socket") && people.contains("from TERMITE_SOCKET"),
        "{people}"
    );

    std::fs::write(stage.path("work/.termite.toml"), "slot = 3\n").unwrap();
    let bad = stage.termite(&["config"]).output().unwrap();
    assert_eq!(bad.status.code(), Some(2));
    assert!(
        text(&bad.stderr).contains(".termite.toml:1: unknown key `slot`"),
        "{bad:?}"
    );
}

#[test]
fn a_job_that_is_not_known_is_status_one() {
    let stage = Stage::new();
    for (arguments, part) in [
        (&["explain"][..], "no build under"),
        (&["explain", "--json"], "no build under"),
        (&["explain", "ab.1"], "no build is known whose id begins with ab"),
        (
            &["explain", "ab.1", "--json"],
            "no build is known whose id begins with ab",
        ),
        (&["explain", "nonsense"], "nonsense is no job"),
        (&["explain", "ab."], "ab. is no job"),
        (&["explain", "../x.1"], "../x.1 is no job"),
    ] {
        let output = stage.termite(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains(part), "{output:?}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
}

#[test]
fn wrong_use_is_status_two() {
    let stage = Stage::new();
    for arguments in [
        &["--nonsense"][..],
        &[],
        &["run"],
        &["last", "--nonsense"],
        &["daemon", "--slots", "0"],
    ] {
        let output = stage.termite(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn stop_without_a_daemon_is_no_error() {
    let output = Stage::new().termite(&["stop"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
