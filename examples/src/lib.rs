//! Examples; each file under `examples/` shows one concept.
