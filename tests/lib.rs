//! Tests of `dexter-cache`, one binary a theme.
