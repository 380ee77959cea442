//! The address of memcached that nginx uses fails while requests wait and a page is renewed, and its name has another one.

use super::waiting_faults::{By, Row, Scene, Store, go_through, nothing, row};
use crate::harness::*;

/// What is at the address that nginx uses.
fn in_use(store: &mut Store) -> &mut Between {
    let other = store.other.as_mut().unwrap();
    if other.connections() > 0 {
        std::mem::swap(&mut store.between, other);
    }
    assert_eq!(other.connections(), 0, "nginx has used both");
    &mut store.between
}

fn passes(store: &mut Store) {
    store.between.passes();
}

/// Who waits does so over the other address, and what is rendered is stored over it, with the lease that it has.
#[test]
fn one_that_refuses_connections() {
    let begins = |store: &mut Store| in_use(store).refuses();
    for (what, ends) in [("for a time", passes as fn(&mut Store)), ("for good", nothing)] {
        goes_through(&Row { frees: false, keeps: true, ..row(what, begins, ends) });
    }
}

/// Lookups are lost until the other one is tried.
#[test]
fn one_that_hangs() {
    let begins = |store: &mut Store| in_use(store).meddles(|_, _| vec![]);
    for (what, ends) in [("for a time", passes as fn(&mut Store)), ("for good", nothing)] {
        goes_through(&row(what, begins, ends));
    }
}

#[track_caller]
fn goes_through(row: &Row) {
    if names::can_be_mounted() {
        for by in [By::Nginx, By::Application] {
            go_through(Scene::with_two_addresses(by), std::slice::from_ref(row));
        }
    }
}
