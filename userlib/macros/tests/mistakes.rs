//! What the compiler says to whoever declares an interface in a wrong way, or uses one carelessly.
//!
//! Each file in `mistakes` does one thing wrong and stands beside what is said about it. After a change to a message
//! `TRYBUILD=overwrite cargo test -p userlib-macros --test mistakes` writes the new ones, to be read before they are
//! committed.

#[test]
fn mistakes_are_shown_where_they_are_made_with_what_to_do() {
    trybuild::TestCases::new().compile_fail("tests/mistakes/*.rs");
}
