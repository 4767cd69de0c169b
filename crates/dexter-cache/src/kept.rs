//! Values as memory and followers hold them: counted, of a type that is known at run time only.
//!
//! An `Arc<T>` is kept as it is, not within another one: a hit then counts it once up, for the caller, and reads one place
//! less. That takes somebody who knows the `T`: generated code does ([`counted`]). What is generic in the whole value
//! cannot, and keeps an `Arc` of the `Arc` ([`boxed`]). Both read what the other one kept ([`open`]).

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

/// A value, shared.
pub(crate) type Shared = Arc<dyn Any + Send + Sync>;

/// How a value is shared.
pub(crate) type Keep<V> = fn(&V) -> Shared;

pub(crate) fn boxed<V: Clone + Send + Sync + 'static>(value: &V) -> Shared {
    Arc::new(value.clone())
}

pub(crate) fn counted<T: Send + Sync + 'static>(value: &Arc<T>) -> Shared {
    remember::<T>();
    Arc::clone(value) as Shared
}

/// The value, if it is a `V`.
#[inline]
pub(crate) fn open<V: Clone + 'static>(shared: &Shared) -> Option<V> {
    match shared.downcast_ref::<V>() {
        Some(value) => Some(value.clone()),
        None => open_counted(shared),
    }
}

/// As [`open`], for an `Arc<T>`; what is counted already is not counted again.
#[inline]
pub(crate) fn open_arc<T: Send + Sync + 'static>(shared: Shared) -> Option<Arc<T>> {
    match shared.downcast::<T>() {
        Ok(value) => Some(value),
        Err(shared) => shared.downcast_ref::<Arc<T>>().cloned(),
    }
}

/// Whether it is a `V`.
pub(crate) fn is<V: Clone + 'static>(shared: &Shared) -> bool {
    shared.is::<V>() || open_counted::<V>(shared).is_some()
}

/// Puts an `Arc` of what is shared into an `Option` of it.
type OpenCounted = fn(&Shared, &mut dyn Any);

/// For each `Arc<T>` that was kept as it is, how one is made of what is kept.
static COUNTED: LazyLock<RwLock<HashMap<TypeId, OpenCounted>>> = LazyLock::new(RwLock::default);

fn remember<T: Send + Sync + 'static>() {
    let id = TypeId::of::<Arc<T>>();
    let known = COUNTED
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .contains_key(&id);
    if !known {
        let mut known = COUNTED.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(id, |shared, out| {
            if let Some(out) = out.downcast_mut::<Option<Arc<T>>>() {
                *out = Arc::clone(shared).downcast().ok();
            }
        });
    }
}

#[cold]
fn open_counted<V: 'static>(shared: &Shared) -> Option<V> {
    let counted = COUNTED.read().unwrap_or_else(PoisonError::into_inner);
    let open = counted.get(&TypeId::of::<V>()).copied();
    drop(counted);
    let mut value = None::<V>;
    open?(shared, &mut value);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arc_is_read_however_it_was_kept() {
        struct Own(u8);
        let value = Arc::new(Own(7));
        for kept in [boxed(&value), counted(&value)] {
            let opened = open::<Arc<Own>>(&kept).expect("one");
            assert!(Arc::ptr_eq(&opened, &value) && opened.0 == 7);
            assert!(is::<Arc<Own>>(&kept));
            let opened = open_arc::<Own>(kept).expect("one");
            assert!(Arc::ptr_eq(&opened, &value));
        }
    }

    #[test]
    fn what_is_kept_as_it_is_is_counted_once() {
        let value = Arc::new(String::from("a"));
        let kept = counted(&value);
        assert_eq!(Arc::strong_count(&value), 2);
        let opened = open_arc::<String>(kept).expect("one");
        assert_eq!(Arc::strong_count(&opened), 2);
    }

    #[test]
    fn another_type_is_none() {
        let kept = counted(&Arc::new(1_u32));
        assert!(open::<Arc<u64>>(&kept).is_none() && open::<u64>(&kept).is_none());
        assert!(!is::<String>(&kept));
        assert!(open_arc::<u64>(kept).is_none());
        assert!(open_arc::<u64>(boxed(&1_u32)).is_none());
    }
}
