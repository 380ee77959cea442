//! Which connection a lookup takes.

use super::*;
use crate::memcached::model::steps::Within;

#[test]
fn nothing_is_opened_before_the_first_lookup() {
    let mut world = World::of(2, 64);
    assert_eq!(world.client.len(), 2);
    assert_eq!(world.wants(), [Want::Closed, Want::Closed]);
    world.submit(0).unwrap();
    assert_eq!(world.wants(), [Want::Connect, Want::Closed]);
}

#[test]
fn a_connection_wants_to_connect_then_write_then_read() {
    let mut world = World::of(1, 64);
    world.submit(0).unwrap();
    assert_eq!(world.wants(), [Want::Connect]);
    world.open(0);
    assert_eq!(world.wants(), [Want::Write]);
    world.write(0, 5);
    assert_eq!(world.wants(), [Want::Write]);
    world.flush(0);
    assert_eq!(world.wants(), [Want::Read]);
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Hit(0)]);
    assert_eq!(world.wants(), [Want::Read]);
}

#[test]
fn lookups_join_a_connection_that_is_being_opened() {
    let mut world = World::of(2, 64);
    for token in 0..3 {
        world.submit(token).unwrap();
        world.pass(1);
    }
    assert_eq!(world.live(), [3, 0]);
    world.open(0);
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Hit(0), Seen::Hit(1), Seen::Hit(2)]);
}

#[test]
fn the_second_connection_is_opened_only_when_the_first_is_busy() {
    let mut world = World::one_proven(2, 64);
    world.submit(1).unwrap();
    assert_eq!(world.wants(), [Want::Write, Want::Closed]);
    world.flush(0);
    world.submit(2).unwrap();
    assert_eq!(world.wants(), [Want::Read, Want::Connect]);
    assert_eq!(world.live(), [1, 1]);
}

#[test]
fn a_batch_that_is_not_written_yet_draws_lookups_to_its_connection() {
    let mut world = World::proven(2);
    for token in 0..3 {
        world.submit(token).unwrap();
    }
    assert_eq!(world.live(), [3, 0]);
    world.flush(0);
    for token in 3..9 {
        world.submit(token).unwrap();
    }
    // though it is the busier one by now
    assert_eq!(world.live(), [3, 6]);
}

#[test]
fn a_batch_ends_with_its_first_write_even_if_the_socket_took_nothing() {
    for written in [0, 1, 20] {
        let mut world = World::proven(2);
        world.submit(0).unwrap();
        world.submit(1).unwrap();
        world.write(0, written);
        world.submit(2).unwrap();
        assert_eq!(world.live(), [2, 1], "{written} bytes");
    }
}

#[test]
fn the_connection_with_the_fewest_in_flight_is_taken_and_ties_go_to_the_first() {
    let mut world = World::proven(3);
    let mut order = Vec::new();
    for token in 0..7 {
        let index = world.submit(token).unwrap().connection;
        order.push(index);
        world.flush(index);
    }
    assert_eq!(order, [0, 1, 2, 0, 1, 2, 0]);
    world.answer(2);
    world.submit(8).unwrap();
    assert_eq!(world.live(), [3, 2, 1]);
}

#[test]
fn replies_still_to_come_count_as_in_flight_though_nobody_waits() {
    let mut world = World::proven(2);
    for token in 0..2 {
        let ticket = world.submit(token).unwrap();
        world.leave(ticket);
    }
    world.flush(0);
    world.send(2, 1);
    world.submit(3).unwrap();
    assert_eq!(world.live(), [0, 2]);
}

#[test]
fn a_batch_is_forgotten_with_its_connection() {
    let mut world = World::proven(2);
    world.send(0, 0);
    let ticket = world.submit(1).unwrap();
    world.answer(0);
    world.leave(ticket);
    world.lose(1, ConnectionError::Closed);
    world.submit(2).unwrap();
    assert_eq!(world.live(), [1, 0]);
}

/// The batch of this iteration counts, not one that must wait for its connection.
#[test]
fn a_connection_that_is_being_opened_does_not_draw_lookups_from_an_idle_one() {
    let mut world = World::one_proven(2, 64);
    world.send(1, 0);
    world.submit(2).unwrap();
    assert_eq!(world.wants(), [Want::Read, Want::Connect]);
    world.answer(0);
    world.pass(1);
    world.submit(3).unwrap();
    assert_eq!(world.live(), [1, 1]);
}

#[test]
fn past_the_bound_of_every_connection_lookups_are_refused_and_not_sent() {
    let mut world = World::of(2, 2);
    let mut submitted = 0;
    while world.submit(submitted).is_ok() {
        submitted += 1;
        assert!(submitted <= 4);
    }
    assert_eq!(world.submit(submitted).unwrap_err(), OperationError::Overload);
    assert_eq!(world.live(), [2, 2]);
    for index in 0..2 {
        world.open(index);
        assert_eq!(world.commands(index), 2);
    }
    // one reply makes room for one lookup, on the connection it came over
    world.flush(1);
    world.serve(1, 1);
    world.deliver(1, usize::MAX);
    world.submit(10).unwrap();
    assert_eq!(world.submit(11).unwrap_err(), OperationError::Overload);
    assert_eq!(world.live(), [2, 2]);
}

#[test]
fn a_cancelled_lookup_counts_against_the_bound_until_its_reply_came() {
    let mut world = World::of(1, 1);
    let ticket = world.submit(0).unwrap();
    world.leave(ticket);
    assert_eq!(world.live(), [0]);
    assert_eq!(world.submit(1).unwrap_err(), OperationError::Overload);
    world.open(0);
    world.answer(0);
    assert_eq!(world.seen(), []);
    world.submit(2).unwrap();
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Hit(2)]);
}

#[test]
fn the_same_lookup_is_sent_once_whichever_connection_it_is_on() {
    let mut world = World::proven(2);
    world.submit(0).unwrap();
    let second = world.submit(SAME).unwrap();
    world.submit(2 * SAME).unwrap();
    assert_eq!(world.live(), [3, 0]);
    world.leave(second);
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Hit(0), Seen::Hit(2 * SAME)]);
    // what is on its way already may be older than what is asked for now
    world.send(0, 0);
    world.submit(SAME).unwrap();
    assert_eq!(world.live(), [1, 1]);
}

#[test]
fn a_lookup_with_another_deadline_is_sent_for_itself() {
    let mut world = World::one_proven(1, 64);
    world.submit(0).unwrap();
    world.submit_for(TIMEOUT - 1, SAME).unwrap();
    assert_eq!(world.commands(0), 2);
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Hit(0), Seen::Hit(SAME)]);
}

#[test]
fn who_shares_a_lookup_counts_as_waiting() {
    let mut world = World::of(1, 2);
    world.submit(0).unwrap();
    let fan_out = world.submit(SAME).unwrap();
    assert_eq!(world.submit(2 * SAME), Err(OperationError::Overload));
    assert_eq!(world.submit(1), Err(OperationError::Overload));
    world.leave(fan_out);
    world.submit(1).unwrap();
}

#[test]
fn nobody_waits_for_the_trial_of_a_server_that_fails() {
    let mut world = World::of(1, 64);
    world.submit(0).unwrap();
    world.lose(0, ConnectionError::Connect(111));
    world.pass(BREAKER.fail_timeout);
    world.submit(0).unwrap();
    assert_eq!(world.submit(SAME), Err(OperationError::Down));
}

#[test]
fn a_connection_that_works_is_shared_though_the_server_takes_no_other() {
    let mut world = World::proven(2);
    world.submit(0).unwrap();
    world.send(SAME, 0);
    world.lose(1, ConnectionError::Silent);
    assert_eq!(world.seen(), [Seen::Down(ConnectionError::Silent)]);
    world.submit(1).unwrap();
    world.submit(1 + SAME).unwrap();
    assert_eq!(world.commands(0), 1);
    world.answer(0);
    let all = [Seen::Hit(0), Seen::Hit(SAME), Seen::Hit(1), Seen::Hit(1 + SAME)];
    assert_eq!(world.seen(), all);
}

#[test]
fn all_who_share_a_lookup_are_sent_again_with_it() {
    let mut world = World::proven(1);
    world.submit(0).unwrap();
    world.send(SAME, 0);
    world.lose(0, ConnectionError::Closed);
    assert_eq!(world.seen(), []);
    assert_eq!(world.live(), [2]);
    world.open(0);
    assert_eq!(world.commands(0), 1);
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Hit(0), Seen::Hit(SAME)]);
}

#[test]
fn who_leaves_between_the_answers_gets_none_on_whichever_connection() {
    let mut world = World::proven(2);
    world.submit(0).unwrap();
    world.send(SAME, 0);
    world.lose(0, ConnectionError::Closed);
    assert_eq!(world.live(), [0, 2]);
    world.within = Some(Within::Cancel(0));
    world.answer(1);
    assert_eq!(world.seen(), [Seen::Hit(0)]);
    assert_eq!(world.live(), [0, 0]);
}
