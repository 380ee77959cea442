//! The request that renders ends before its time, while others wait for its page in the same worker, in another worker, and
//! in another nginx: there is one more render, and all are answered with it who can be.

use std::time::{Duration, Instant};

use super::application::{Application, Way, page};
use super::site::{is_hit, location, plan_for};
use super::waiting::{STATS, answers, held, wait_until_asked, waits};
use crate::harness::*;

/// Those who wait in each of the three places.
const EACH: usize = 4;

/// A lease of two seconds and a render take less on any machine, and requests may wait for longer.
const SOON: Duration = Duration::from_secs(20);

/// Its parts end in this order.
struct Fleet {
    first: Site,
    second: Site,
    application: Application,
    _memcached: Memcached,
}

/// The worker that renders, and those who wait.
struct Scene {
    worker: i32,
    holder: Client,
    beside: Vec<Client>,
    in_other_worker: Vec<Client>,
    in_other_nginx: Vec<Client>,
}

/// An nginx of two workers, and another one of one worker. Whoever waits in vain is answered by one render more.
fn fleet(directives: &str) -> Fleet {
    let (application, memcached) = (Application::start(), Memcached::alone());
    let directives = format!("pagecache_lock_timeout 60s; {directives}");
    let locations = location("/", &directives) + STATS + "location = /worker { return 200 $pid; }";
    let plan = || plan_for(&application, Way::Uwsgi, &locations).store_at(memcached.address());
    let (first, second) = (plan().workers(2).start(), plan().start());
    Fleet { first, second, application, _memcached: memcached }
}

/// A visitor of one worker: the other one is stopped while he connects.
fn visitor_of(site: &Site, worker: i32) -> Client {
    let others: Vec<i32> = site.nginx.workers().into_iter().filter(|&it| it != worker).collect();
    for &other in &others {
        assert!(kernel::signal(other, kernel::SIGSTOP));
        wait::until("the worker is stopped", || measure::is_in_state(other, 'T'));
    }
    let mut visitor = site.client();
    assert_eq!(visitor.get("/worker").text(), worker.to_string());
    for &other in &others {
        assert!(kernel::signal(other, kernel::SIGCONT));
    }
    visitor
}

fn visit(mut visitor: Client) -> Client {
    visitor.send(&Request::get("/page").head());
    visitor
}

impl Fleet {
    /// One renders, and all others wait. The next render comes at once.
    fn scene(&self) -> Scene {
        let Fleet { first, second, application, .. } = self;
        wait::until("two workers", || first.nginx.workers().len() == 2);
        let [worker, other] = first.nginx.workers()[..] else { panic!() };
        application.renders("/page", &held("first"));
        let holder = visit(visitor_of(first, worker));
        wait_until_asked(application, 1);
        let of = |worker| (0..EACH).map(|_| visit(visitor_of(first, worker))).collect();
        let (beside, in_other_worker) = (of(worker), of(other));
        let in_other_nginx = (0..EACH).map(|_| visit(second.client())).collect();
        wait::until("all others wait", || {
            waits(first) >= 2 * EACH as u64 && waits(second) >= EACH as u64
        });
        application.renders("/page", &page().body("second"));
        Scene { worker, holder, beside, in_other_worker, in_other_nginx }
    }

    /// Those who are left have the page of the second render, and so has everybody who comes now.
    #[track_caller]
    fn has_one_more_render(&self, left: Vec<Client>, sites: &[&Site]) {
        let since = Instant::now();
        for answer in answers(left) {
            assert_eq!((answer.status, answer.text()), (200, "second".to_owned()), "{answer:?}");
        }
        assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
        for site in sites {
            let answer = site.get("/page");
            is_hit(&answer);
            assert_eq!(answer.text(), "second");
        }
        assert_eq!(self.application.count("/page"), 2);
        self.application.release();
    }
}

#[track_caller]
fn are_lost(visitors: Vec<Client>) {
    for mut visitor in visitors {
        let lost = visitor.receive(false);
        assert!(matches!(lost, Err(Lost::BeforeFirstByte)), "{lost:?}");
    }
}

/// The lease is given back: it would last for a minute.
#[test]
fn by_its_visitor_who_leaves() {
    let fleet = fleet("pagecache_lock_age 60s;");
    let scene = fleet.scene();
    scene.holder.leave();
    let left = [scene.beside, scene.in_other_worker, scene.in_other_nginx];
    fleet.has_one_more_render(left.into_iter().flatten().collect(), &[&fleet.first, &fleet.second]);
}

/// Those who wait in the worker that is killed are lost with it, and are answered when they ask again.
#[test]
fn with_its_worker() {
    let mut fleet = fleet("pagecache_lock_age 2s;");
    fleet.first.nginx.ignore_in_log("exited on signal 9");
    let Scene { worker, holder, mut beside, in_other_worker, in_other_nginx } = fleet.scene();
    assert!(kernel::signal(worker, kernel::SIGKILL));
    beside.push(holder);
    are_lost(beside);
    // they ask again
    let again = (0..EACH).map(|_| visit(fleet.first.client())).collect();
    let left = [in_other_worker, in_other_nginx, again];
    fleet.has_one_more_render(left.into_iter().flatten().collect(), &[&fleet.first, &fleet.second]);
}

#[test]
fn with_the_whole_nginx() {
    let mut fleet = fleet("pagecache_lock_age 2s;");
    let Scene { holder, beside, in_other_worker, in_other_nginx, .. } = fleet.scene();
    fleet.first.nginx.kill();
    are_lost([beside, in_other_worker, vec![holder]].into_iter().flatten().collect());
    fleet.has_one_more_render(in_other_nginx, &[&fleet.second]);
}

/// Three in turn, each with its worker: nobody who waits elsewhere notices more than one lease each.
#[test]
fn again_and_again() {
    let mut fleet = fleet("pagecache_lock_age 2s;");
    fleet.first.nginx.ignore_in_log("exited on signal 9");
    let Fleet { first, second, application, .. } = &fleet;
    application.renders("/page", &held("first"));
    let mut lost = Vec::new();
    for renders in 1..=2 {
        lost.push(visit(first.client()));
        wait_until_asked(application, renders);
        if renders == 1 {
            lost.extend((0..EACH).map(|_| visit(first.client())));
        }
        // the one that renders, and the ones that wait beside it
        let workers = first.nginx.workers();
        for &worker in &workers {
            assert!(kernel::signal(worker, kernel::SIGKILL));
        }
        wait::until("other workers", || {
            let now = first.nginx.workers();
            now.len() == 2 && now.iter().all(|worker| !workers.contains(worker))
        });
    }
    application.renders("/page", &page().body("last"));
    let last = (0..EACH).map(|_| visit(second.client())).collect();
    assert!(answers(last).iter().all(|answer| answer.text() == "last"));
    assert_eq!(application.count("/page"), 3);
    are_lost(lost);
    application.release();
}
