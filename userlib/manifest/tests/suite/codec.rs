//! What the machine accepts as a manifest, and that nothing makes the reader panic.

use manifest::{DecodeError, EncodeError, HEADER_BYTES, Inconsistency, MAX_ENCODED_BYTES, System, VERSION};
use proptest::prelude::*;

fn encoded() -> Vec<u8> {
    crate::sample::system().encode().expect("the sample is consistent")
}

/// Puts the right length and checksum on changed bytes, so that the body itself is what the reader judges.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = (bytes.len() - HEADER_BYTES) as u32;
    bytes[12..16].copy_from_slice(&length.to_le_bytes());
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let mut digest = crc.digest();
    digest.update(&bytes[..16]);
    digest.update(&bytes[HEADER_BYTES..]);
    bytes[16..20].copy_from_slice(&digest.finalize().to_le_bytes());
    bytes
}

#[test]
fn a_system_survives_the_round_trip_and_its_bytes_are_reproducible() {
    let system = crate::sample::system();
    let bytes = encoded();
    assert_eq!(System::decode(&bytes), Ok(system.clone()));
    assert_eq!(System::decode(&bytes).map(|again| again.encode().expect("still consistent")), Ok(bytes));
}

#[test]
fn every_truncation_is_refused() {
    let bytes = encoded();
    for length in 0..bytes.len() {
        let refusal = System::decode(&bytes[..length]).expect_err("a prefix is no manifest");
        if length < HEADER_BYTES {
            assert_eq!(refusal, DecodeError::Truncated { present: length });
        } else {
            let stated = (bytes.len() - HEADER_BYTES) as u32;
            assert_eq!(refusal, DecodeError::Length { stated, present: length - HEADER_BYTES });
        }
    }
}

#[test]
fn every_single_flipped_bit_is_noticed() {
    let bytes = encoded();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(System::decode(&damaged).is_err(), "bit {bit} was flipped unnoticed");
    }
}

#[test]
fn the_refusal_says_what_is_wrong_with_the_header() {
    let mut wrong_magic = encoded();
    wrong_magic[0] = b'b';
    assert_eq!(System::decode(&wrong_magic), Err(DecodeError::NotAManifest));

    let mut newer = encoded();
    newer[8] += 1;
    assert_eq!(System::decode(&newer), Err(DecodeError::Version { found: VERSION + 1 }));

    let mut damaged = encoded();
    *damaged.last_mut().expect("not empty") ^= 1;
    assert!(matches!(System::decode(&damaged), Err(DecodeError::Checksum { .. })));

    let large = vec![0; MAX_ENCODED_BYTES + 1];
    assert_eq!(System::decode(&large), Err(DecodeError::TooLarge { present: MAX_ENCODED_BYTES + 1 }));
}

#[test]
fn bytes_after_the_system_are_refused() {
    let mut longer = encoded();
    longer.push(0);
    assert_eq!(System::decode(&resealed(longer)), Err(DecodeError::Malformed));
}

#[test]
fn a_system_too_large_to_be_read_is_not_written() {
    let mut system = crate::sample::system();
    let one = system.rings[0].clone();
    system.domains[2].uses[0].ring = None;
    system.rings.clear();
    system.notifications.clear();
    assert!(system.encode().is_ok());
    system.rings = vec![one; 10_000];
    // The rings belong to no use, which is found before their size matters.
    assert!(matches!(system.encode(), Err(EncodeError::Inconsistent(Inconsistency::Ring(_)))));

    let mut system = crate::sample::system();
    system.endpoints[2].interface_id = u64::MAX;
    let template = system.endpoints[2].clone();
    for at in 3..6000 {
        system.endpoints.push(template.clone());
        system.domains[2].provides.push(manifest::EndpointIndex(at));
    }
    assert!(matches!(system.encode(), Err(EncodeError::TooLarge { bytes }) if bytes > MAX_ENCODED_BYTES));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let _ = System::decode(&bytes);
    }

    #[test]
    fn no_body_under_a_right_checksum_makes_the_reader_panic(
        body in proptest::collection::vec(any::<u8>(), 0..2048),
    ) {
        let mut bytes = encoded();
        bytes.truncate(HEADER_BYTES);
        bytes.extend_from_slice(&body);
        let _ = System::decode(&resealed(bytes));
    }

    /// The nearest that damage comes to a good manifest: what is accepted must still keep every rule.
    #[test]
    fn a_changed_body_under_a_right_checksum_is_refused_or_consistent(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = encoded();
        for (place, value) in changes {
            let at = HEADER_BYTES + place.index(bytes.len() - HEADER_BYTES);
            bytes[at] = value;
        }
        if let Ok(system) = System::decode(&resealed(bytes)) {
            prop_assert_eq!(system.check(), Ok(()));
            for (from, domain) in system.domains() {
                for usage in &domain.uses {
                    let endpoint = &system[usage.endpoint];
                    prop_assert!(endpoint.level < domain.level);
                    prop_assert!(system.may_reach(from, endpoint.server));
                }
            }
        }
    }
}
