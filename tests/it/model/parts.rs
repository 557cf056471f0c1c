//! A large file of a lower side that gets only what is written: its bytes are those of a file in memory, whatever is
//! written, wherever it is cut off, and how often it is mounted again.

use plyfs::union::overlay::{Change, Options};
use proptest::prelude::*;

use crate::support::world::{Side, World};

const LAYERS: &str = "
    layer
    file large size=30000
";

#[derive(Clone, Debug)]
enum Operation {
    Write(u64, Vec<u8>),
    Truncate(u64),
    Chmod(u16),
    Remount,
    Seal,
}

fn operation() -> impl Strategy<Value = Operation> {
    let aligned = (0..10u64, 0..3usize, any::<u8>());
    let write = (0..40_000u64, 0..9_000usize, any::<u8>());
    prop_oneof![
        6 => write.prop_map(|(at, length, byte)| Operation::Write(at, vec![byte; length])),
        3 => aligned.prop_map(|(at, count, byte)| Operation::Write(at * 4096, vec![byte; count * 4096])),
        1 => prop_oneof![Just(0), 0..40_000u64].prop_map(Operation::Truncate),
        1 => (0o600..0o777u16).prop_map(Operation::Chmod),
        2 => Just(Operation::Remount),
        1 => Just(Operation::Seal),
    ]
}

fn apply(world: &mut World, model: &mut Vec<u8>, operation: &Operation) {
    match operation {
        Operation::Write(at, bytes) => {
            world.write("large", *at, bytes).unwrap();
            let (start, end) = (*at as usize, *at as usize + bytes.len());
            if !bytes.is_empty() {
                model.resize(model.len().max(end), 0);
                model[start..end].copy_from_slice(bytes);
            }
        }
        Operation::Truncate(size) => {
            world.change("large", Change { size: Some(*size), ..Change::default() }).unwrap();
            model.resize(*size as usize, 0);
        }
        Operation::Chmod(mode) => {
            world.change("large", Change { permissions: Some(*mode), ..Change::default() }).unwrap();
        }
        Operation::Remount => world.reopen(),
        Operation::Seal => drop(world.overlay().seal().unwrap()),
    }
}

fn run(side: Side, operations: &[Operation]) {
    let mut world =
        World::with(side, LAYERS, Options { metacopy: true, blocks_from: 0, ..Options::default() });
    let mut model = world.read("large").unwrap();
    assert_eq!(model.len(), 30_000);
    for (at, operation) in operations.iter().enumerate() {
        apply(&mut world, &mut model, operation);
        let read = world.read("large").unwrap();
        assert!(read == model, "after operation {at} of {operations:?}");
        assert_eq!(world.attributes("large").unwrap().stat.size, model.len() as u64);
    }
    world.overlay().seal().unwrap();
    match std::fs::read(world.path("upper/large")) {
        Ok(bytes) => assert!(bytes == model, "sealed after {operations:?}"),
        Err(_) => {
            let changes = |one: &Operation| !matches!(one, Operation::Remount | Operation::Seal);
            assert!(!operations.iter().any(changes), "not in the upper after {operations:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: super::cases(), ..ProptestConfig::default() })]

    #[test]
    fn a_large_file_that_is_written_in_parts_is_as_any_other(
        operations in prop::collection::vec(operation(), 1..20),
    ) {
        run(Side::Image, &operations);
        run(Side::Directories, &operations);
    }
}
