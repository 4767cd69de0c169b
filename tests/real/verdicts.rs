//! The judge itself: what it has to notice, and what it has to let pass.

use std::time::Duration;

use crate::judge::{Judge, Terms};
use crate::wire::{Event, Kind, Origin, Said, Value};

const HERE: usize = 0;
const THERE: usize = 1;

fn judge() -> Judge {
    let terms = Terms {
        tiered: false,
        budget: Duration::ZERO,
        fallback_ttl: Duration::ZERO,
    };
    Judge::new(terms, 2)
}

fn say(judge: &Judge, process: usize, trusts: bool, event: Event) -> usize {
    let said = Said {
        event,
        trusts,
        recoveries: 1,
        journaled: usize::from(!trusts),
    };
    usize::try_from(judge.hear(process, &said)).unwrap()
}

/// A load ends here, then its key is removed here; in between this process may have lost the server.
fn load_and_remove(judge: &Judge, applied: bool) -> usize {
    let (key, origin) = (0, Origin::Load);
    let load = say(judge, HERE, true, Event::LoadBegins { key, origin });
    let how = "ends".to_owned();
    say(judge, HERE, true, Event::LoadEnds { load, how });
    let begins = Event::RemovalBegins {
        covers: 1,
        kind: Kind::Removal,
        what: "remove".to_owned(),
    };
    let removal = say(judge, HERE, applied, begins);
    let applied = Some(applied);
    let returns = Event::RemovalReturns { removal, applied };
    say(judge, HERE, applied == Some(true), returns);
    load
}

fn read(judge: &Judge, process: usize, load: usize) {
    let (key, joins) = (0, false);
    let call = say(judge, process, true, Event::CallBegins { key, joins });
    let (what, version) = ("get".to_owned(), 1);
    let value = Some(Value { key, version, load });
    say(judge, process, true, Event::CallEnds { call, what, value });
}

#[test]
fn what_was_removed_is_noticed_in_both_processes() {
    for (process, clause) in [(HERE, "clause (a)"), (THERE, "clause (b)")] {
        let judge = judge();
        let load = load_and_remove(&judge, true);
        read(&judge, process, load);
        let violations = judge.end().1;
        assert!(violations[0].starts_with(clause), "{violations:?}");
    }
}

#[test]
fn a_removal_that_is_written_down_binds_others_from_its_replay_on() {
    let judge = judge();
    let load = load_and_remove(&judge, false);
    read(&judge, THERE, load);
    assert!(judge.end().1.is_empty());
    say(&judge, HERE, true, Event::Pulse { idle: true });
    read(&judge, THERE, load);
    assert_eq!(judge.end().1.len(), 1);
}

#[test]
fn a_load_that_began_after_a_removal_is_good() {
    let judge = judge();
    load_and_remove(&judge, true);
    let (key, origin) = (0, Origin::Load);
    let load = say(&judge, THERE, true, Event::LoadBegins { key, origin });
    read(&judge, HERE, load);
    read(&judge, THERE, load);
    assert!(judge.end().1.is_empty());
}
