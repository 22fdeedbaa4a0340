//! The documents say what the sources say.

use kernel_core::Kernel;
use model::sizes::Small;

fn document(path: &str) -> String {
    let path = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn both_documents_have_every_invariant_word_for_word() {
    for path in ["ARCHITECTURE.md", "docs/kernel.md"] {
        let text = document(path);
        for invariant in Kernel::<Small>::INVARIANTS {
            let row = format!("| `{}` | {} |", invariant.name, invariant.sentence);
            assert!(text.contains(&row), "{path} lacks the line\n{row}");
        }
    }
}

#[test]
fn the_reference_has_every_law_word_for_word() {
    let text = document("docs/kernel.md");
    for law in model::law::LAWS {
        let row = format!("| `{}` | {} |", law.name, law.sentence);
        assert!(text.contains(&row), "docs/kernel.md lacks the line\n{row}");
    }
}
