//! A server whose name stands for several addresses.

use super::*;

fn with_addresses(addresses: usize, connections: usize) -> World {
    World::within(Limits { addresses, connections, ..LIMITS })
}

#[test]
fn the_next_address_is_tried_within_the_same_attempt() {
    let mut world = with_addresses(2, 1);
    world.submit(0).unwrap();
    world.submit(1).unwrap();
    let generation = world.client.generation(0);
    world.lose(0, REFUSED);
    assert_eq!((world.seen(), world.wants()), (vec![], vec![Want::Connect]));
    assert_eq!((world.client.generation(0), world.client.address(0)), (generation + 1, 1));
    world.open(0);
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Hit(0), Seen::Hit(1)]);
}

#[test]
fn each_address_has_the_time_to_connect() {
    let mut world = with_addresses(2, 1);
    world.submit(0).unwrap();
    world.pass(CONNECT_TIMEOUT);
    assert_eq!((world.seen(), world.wants()), (vec![], vec![Want::Connect]));
    world.pass(CONNECT_TIMEOUT - 1);
    assert_eq!((world.seen(), world.wants()), (vec![], vec![Want::Connect]));
    world.pass(1);
    let failed = Seen::Failed(0, OperationError::Connect);
    assert_eq!(world.seen(), [Seen::Down(ConnectionError::ConnectTimeout), failed]);
}

#[test]
fn the_server_has_failed_once_when_none_of_its_addresses_connects() {
    let mut world = with_addresses(3, 2);
    for round in 0..3 {
        world.submit(round).unwrap();
        for _ in 0..2 {
            world.lose(0, REFUSED);
            assert_eq!((world.seen(), world.wants()[0]), (vec![], Want::Connect));
        }
        world.lose(0, REFUSED);
        let seen = world.seen();
        assert_eq!(seen.last(), Some(&Seen::Failed(round, OperationError::Connect)));
        assert_eq!(seen.len(), if round == 0 { 2 } else { 1 });
        assert_eq!(world.submit(99).unwrap_err(), OperationError::Down);
        world.pass(2_000);
    }
}

#[test]
fn a_worker_without_a_connection_to_spare_has_none_for_another_address() {
    let mut world = with_addresses(2, 1);
    world.submit(0).unwrap();
    world.lose(0, ConnectionError::NoConnection);
    let failed = Seen::Failed(0, OperationError::Connect);
    assert_eq!(world.seen(), [Seen::Down(ConnectionError::NoConnection), failed]);
}

#[test]
fn the_address_that_connected_is_kept() {
    let mut world = with_addresses(2, 2);
    world.submit(0).unwrap();
    world.lose(0, REFUSED);
    world.open(0);
    world.answer(0);
    world.lose(0, ConnectionError::Closed);
    world.submit(1).unwrap();
    assert_eq!(world.client.address(0), 1);
    // all are tried in each attempt
    world.lose(0, REFUSED);
    assert_eq!((world.seen(), world.wants()[0]), (vec![Seen::Hit(0)], Want::Connect));
}

/// Only address 1 takes connections.
#[test]
fn each_of_two_attempts_at_once_tries_all_addresses() {
    let mut world = World::within(Limits { addresses: 2, inflight: 1, ..LIMITS });
    for token in 0..2 {
        world.submit(token).unwrap();
    }
    assert_eq!([0, 1].map(|index| world.client.address(index)), [0, 0]);
    for index in 0..2 {
        world.lose(index, REFUSED);
        assert_eq!((world.seen(), world.client.address(index)), (vec![], 1));
        world.open(index);
        world.answer(index);
        assert_eq!(world.seen(), [Seen::Hit(index as u64)]);
    }
}
