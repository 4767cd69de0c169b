//! Being told of changes: which messages of the server say what, and which connection may still speak.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};

use redis::{Cmd, PushInfo, PushKind, Value, cmd};

use crate::backend::Watcher;

/// What is watched, and by whom.
pub(super) struct Watch {
    prefix: Box<str>,
    watcher: Weak<dyn Watcher>,
}

/// What one connection tells. The handles are those of the connection and of the task that reads it.
#[derive(Clone)]
pub(super) struct Telling(Arc<Inner>);

struct Inner {
    prefix: Box<str>,
    watcher: Weak<dyn Watcher>,
    phase: AtomicU8,
}

/// Not in use yet: what changes is told, but nobody relies on it.
const NEW: u8 = 0;
const IN_USE: u8 = 1;
/// What it still has to say is of no interest: whoever relied on it knows that it is lost.
const OVER: u8 = 2;

impl Watch {
    pub(super) fn new(prefix: &str, watcher: Weak<dyn Watcher>) -> Self {
        Self {
            prefix: prefix.into(),
            watcher,
        }
    }

    /// What a new connection tells.
    pub(super) fn telling(&self) -> Telling {
        Telling(Arc::new(Inner {
            prefix: self.prefix.clone(),
            watcher: Weak::clone(&self.watcher),
            phase: AtomicU8::new(NEW),
        }))
    }
}

impl Telling {
    /// The command that turns it on. Own writes are told as well: what two clients of this process write at once is in
    /// no other order than Redis says.
    pub(super) fn command(&self) -> Cmd {
        let mut tracking = cmd("CLIENT");
        tracking.arg("TRACKING").arg("ON").arg("BCAST");
        tracking.arg("PREFIX").arg(&*self.0.prefix);
        tracking
    }

    /// What the task that reads the connection calls for each message: before it hands on any reply that came later.
    pub(super) fn sender(&self) -> impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static {
        let telling = self.clone();
        move |message| {
            telling.take(&message);
            Ok(())
        }
    }

    /// The connection comes into use, unless it is lost already.
    pub(super) fn begin(&self) -> bool {
        self.0
            .phase
            .compare_exchange(NEW, IN_USE, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// The connection ends, or has ended. Who relied on it is told so, once.
    pub(super) fn end(&self) {
        if self.0.phase.swap(OVER, Ordering::SeqCst) == IN_USE
            && let Some(watcher) = self.0.watcher.upgrade()
        {
            watcher.lost();
        }
    }

    fn take(&self, message: &PushInfo) {
        match message.kind {
            PushKind::Disconnection => self.end(),
            PushKind::Invalidate if self.0.phase.load(Ordering::SeqCst) != OVER => {
                if let Some(watcher) = self.0.watcher.upgrade() {
                    tell(&*watcher, &message.data);
                }
            }
            _ => {}
        }
    }
}

/// An array of keys; after `FLUSHDB` and `FLUSHALL` nil. What cannot be read may mean any key.
fn tell(watcher: &dyn Watcher, data: &[Value]) {
    let [Value::Array(keys)] = data else {
        return watcher.flushed();
    };
    for key in keys {
        match key {
            Value::BulkString(key) => watcher.changed(key),
            _ => watcher.flushed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Ear(Mutex<Vec<String>>);

    impl Watcher for Ear {
        fn changed(&self, key: &[u8]) {
            self.hear(String::from_utf8_lossy(key).into_owned());
        }

        fn flushed(&self) {
            self.hear("flushed".into());
        }

        fn lost(&self) {
            self.hear("lost".into());
        }
    }

    impl Ear {
        fn hear(&self, what: String) {
            self.0.lock().unwrap().push(what);
        }

        fn heard(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    fn invalidate(data: Vec<Value>) -> PushInfo {
        PushInfo {
            kind: PushKind::Invalidate,
            data,
        }
    }

    fn keys(keys: &[&str]) -> PushInfo {
        let keys = keys
            .iter()
            .map(|key| Value::BulkString(key.as_bytes().to_vec()));
        invalidate(vec![Value::Array(keys.collect())])
    }

    fn disconnection() -> PushInfo {
        PushInfo {
            kind: PushKind::Disconnection,
            data: vec![],
        }
    }

    fn telling() -> (Arc<Ear>, Watch) {
        let ear = Arc::new(Ear::default());
        let weak = Arc::downgrade(&ear);
        (ear, Watch::new("a:", weak))
    }

    #[test]
    fn several_keys_in_a_message_are_told_one_by_one() {
        let (ear, watch) = telling();
        let telling = watch.telling();
        assert!(telling.begin());
        telling.take(&keys(&["a:1", "a:2"]));
        telling.take(&invalidate(vec![Value::Nil]));
        assert_eq!(ear.heard(), ["a:1", "a:2", "flushed"]);
    }

    #[test]
    fn the_late_words_of_an_old_connection_do_no_harm() {
        let (ear, watch) = telling();
        let (old, new) = (watch.telling(), watch.telling());
        assert!(old.begin());
        old.end();
        assert!(new.begin());
        assert_eq!(ear.heard(), ["lost"]);
        old.take(&keys(&["a:1"]));
        old.take(&disconnection());
        assert_eq!(ear.heard(), [""; 0]);
        new.take(&disconnection());
        new.end();
        assert_eq!(ear.heard(), ["lost"], "once");
    }

    #[test]
    fn a_connection_lost_before_its_use_is_never_used() {
        let (ear, watch) = telling();
        let telling = watch.telling();
        telling.take(&disconnection());
        assert!(!telling.begin());
        assert_eq!(ear.heard(), [""; 0]);
    }
}
