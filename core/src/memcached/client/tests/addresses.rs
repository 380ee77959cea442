//! A server whose name stands for several addresses.

use super::*;

fn with_addresses(addresses: usize, connections: usize) -> Driver {
    let mut driver = Driver::new(connections, 64);
    driver.limit(|limits| Limits { addresses, ..limits });
    driver
}

#[test]
fn the_next_address_is_tried_within_the_same_attempt() {
    let mut driver = with_addresses(2, 1);
    driver.submit(0).unwrap();
    driver.submit(1).unwrap();
    let generation = driver.client.generation(0);
    driver.lose(0, REFUSED);
    assert_eq!((driver.seen(), driver.wants()), (vec![], vec![Want::Connect]));
    assert_eq!((driver.client.generation(0), driver.client.address(0)), (generation + 1, 1));
    driver.open(0);
    driver.answer(0);
    assert_eq!(driver.seen(), [Seen::Hit(0), Seen::Hit(1)]);
}

#[test]
fn each_address_has_the_time_to_connect() {
    let mut driver = with_addresses(2, 1);
    driver.submit(0).unwrap();
    driver.pass(CONNECT_TIMEOUT);
    assert_eq!((driver.seen(), driver.wants()), (vec![], vec![Want::Connect]));
    driver.pass(CONNECT_TIMEOUT - 1);
    assert_eq!((driver.seen(), driver.wants()), (vec![], vec![Want::Connect]));
    driver.pass(1);
    let failed = Seen::Failed(0, OperationError::Connect);
    assert_eq!(driver.seen(), [Seen::Down(ConnectionError::ConnectTimeout), failed]);
}

#[test]
fn the_server_has_failed_once_when_none_of_its_addresses_connects() {
    let mut driver = with_addresses(3, 2);
    for round in 0..3 {
        driver.submit(round).unwrap();
        for _ in 0..2 {
            driver.lose(0, REFUSED);
            assert_eq!((driver.seen(), driver.wants()[0]), (vec![], Want::Connect));
        }
        driver.lose(0, REFUSED);
        let seen = driver.seen();
        assert_eq!(seen.last(), Some(&Seen::Failed(round, OperationError::Connect)));
        assert_eq!(seen.len(), if round == 0 { 2 } else { 1 });
        assert_eq!(driver.submit(99).unwrap_err(), OperationError::Down);
        driver.pass(2_000);
    }
}

#[test]
fn a_worker_without_a_connection_to_spare_has_none_for_another_address() {
    let mut driver = with_addresses(2, 1);
    driver.submit(0).unwrap();
    driver.lose(0, ConnectionError::NoConnection);
    let failed = Seen::Failed(0, OperationError::Connect);
    assert_eq!(driver.seen(), [Seen::Down(ConnectionError::NoConnection), failed]);
}

#[test]
fn the_address_that_connected_is_kept() {
    let mut driver = with_addresses(2, 2);
    driver.submit(0).unwrap();
    driver.lose(0, REFUSED);
    driver.open(0);
    driver.answer(0);
    driver.lose(0, ConnectionError::Closed);
    driver.submit(1).unwrap();
    assert_eq!(driver.client.address(0), 1);
    // all are tried in each attempt
    driver.lose(0, REFUSED);
    assert_eq!((driver.seen(), driver.wants()[0]), (vec![Seen::Hit(0)], Want::Connect));
}

/// Only address 1 takes connections.
#[test]
fn each_of_two_attempts_at_once_tries_all_addresses() {
    let mut driver = Driver::new(2, 1);
    driver.limit(|limits| Limits { addresses: 2, ..limits });
    for token in 0..2 {
        driver.submit(token).unwrap();
    }
    assert_eq!([0, 1].map(|index| driver.client.address(index)), [0, 0]);
    for index in 0..2 {
        driver.lose(index, REFUSED);
        assert_eq!((driver.seen(), driver.client.address(index)), (vec![], 1));
        driver.open(index);
        driver.answer(index);
        assert_eq!(driver.seen(), [Seen::Hit(index as u64)]);
    }
}
