use std::thread;

use super::*;

#[test]
fn threads_agree_on_what_there_is() {
    let engine = Engine::new(4, 200);
    thread::scope(|scope| {
        for thread in 0..3_u32 {
            let engine = &engine;
            scope.spawn(move || {
                for step in 0..30_000_u32 {
                    let number = step.wrapping_mul(2_654_435_761) >> 20;
                    let text = format!("{}", number % 1_500);
                    match (step + thread) % 5 {
                        0 | 1 => drop(engine.insert(node(&text, 1 + step % 3, number % 1_500))),
                        2 | 3 => {
                            if let Some(held) = engine.get(&key(&text)) {
                                assert_eq!(value(&held), number % 1_500);
                            }
                        }
                        _ => drop(engine.remove_if(&key(&text), |_| step % 2 == 0)),
                    }
                    assert!(engine.weight() <= 800);
                }
            });
        }
        let engine = &engine;
        scope.spawn(move || {
            for step in 0..50 {
                all(engine);
                if step % 10 == 9 {
                    engine.clear();
                }
            }
        });
    });
    let found = all(&engine);
    assert_eq!(found.len(), engine.len());
    for text in found {
        assert!(engine.remove_if(&key(&text), |_| true).is_some());
    }
    assert_eq!((engine.len(), engine.weight()), (0, 0));
}
