//! Random sequences of operations do what they do to a map in memory, and leave a clean disk.

use crate::support::model::{Model, Refusal, Step, contents, perform};
use crate::support::{MemoryDisk, assert_clean, block_on, images, mount_with};
use fat::MountOptions;
use proptest::prelude::*;

/// Few names, so that operations meet; in different cases, so that these are told apart only in showing.
fn paths() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("a"),
        Just("B.TXT"),
        Just("b.txt"),
        Just("A long name, of three records"),
        Just("a LONG name, of three records"),
        Just("Ünï.cødé"),
        Just("x.y.z"),
    ];
    prop::collection::vec(name, 1..4).prop_map(|names| format!("/{}", names.join("/")))
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (paths(), 0..40_000u32, 0..30_000u32, any::<u64>())
            .prop_map(|(path, offset, length, seed)| Step::Write { path, offset, length, seed }),
        2 => (paths(), 0..50_000u32).prop_map(|(path, length)| Step::SetLength { path, length }),
        2 => paths().prop_map(|path| Step::RemoveFile { path }),
        4 => paths().prop_map(|path| Step::MakeDirectory { path }),
        1 => paths().prop_map(|path| Step::RemoveDirectory { path }),
        4 => (paths(), paths(), any::<bool>())
            .prop_map(|(from, to, replace)| Step::Rename { from, to, replace }),
        1 => Just(Step::Sync),
    ]
}

/// One set of images for all cases: making them takes longer than a case.
fn image_number(number: usize) -> (&'static str, Vec<u8>) {
    use std::sync::OnceLock;
    static IMAGES: OnceLock<Vec<(&'static str, Vec<u8>)>> = OnceLock::new();
    let all = IMAGES.get_or_init(images);
    all[number % all.len()].clone()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(96),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_volume_behaves_like_a_map(
        number in 0usize..6,
        seed in any::<u64>(),
        steps in prop::collection::vec(steps(), 1..60),
    ) {
        let (kind, bytes) = image_number(number);
        let disk = MemoryDisk::with(bytes, false, seed >> 1);
        let options = MountOptions { cache_bytes: 64 * 1024, ..MountOptions::default() };
        let (volume, _) = mount_with(&disk, options);
        let before = block_on(volume.space()).expect(kind);
        let mut model = Model::default();
        for step in &steps {
            let expected = model.apply(step);
            match perform(&volume, step) {
                Ok(()) => prop_assert_eq!(Ok(()), expected, "{}: {:?}", kind, step),
                Err(error) => prop_assert_eq!(
                    Refusal::of(&error), expected.err(), "{}: {:?}: {}", kind, step, error
                ),
            }
        }
        prop_assert_eq!(&contents(&volume).expect(kind), &model);
        block_on(volume.unmount()).expect(kind);
        assert_clean(&disk, kind);
        let (volume, _) = mount_with(&disk, options);
        prop_assert_eq!(&contents(&volume).expect(kind), &model);
        // What is removed leaves nothing behind.
        for (path, node) in model.nodes.values().rev() {
            let removed = match node {
                crate::support::model::Node::File(_) => block_on(volume.remove_file(path)),
                crate::support::model::Node::Directory => block_on(volume.remove_directory(path)),
            };
            prop_assert_eq!(removed, Ok(()));
        }
        let after = block_on(volume.space()).expect(kind);
        if kind != "FAT32" && kind != "FAT32, large clusters" {
            prop_assert_eq!(before, after, "{}", kind);
        }
        block_on(volume.unmount()).expect(kind);
        assert_clean(&disk, kind);
    }
}
