//! The layout of nginx's structures: nginx refuses a module that places a field at another offset than nginx's C
//! compiler does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::harness::*;

/// The size in bytes of the marks around the constants that `build/proof.rs` has put into the module.
const MARK: usize = 16;

#[test]
fn a_module_with_a_field_in_another_place_is_refused() {
    let module = fs::read(parts::module()).unwrap();
    let constants = constants(&module);
    assert!(constants.len() > 10, "{constants:?}");
    let prefix = prefix();
    let said = |changed: &[u8]| {
        let file = prefix.path().join("changed.so");
        fs::write(&file, changed).unwrap();
        Nginx::check(prefix.path(), &configuration(&file, prefix.path()))
    };
    let unchanged = said(&module);
    assert!(unchanged.passed, "{}", unchanged.output);

    let mut refused = BTreeSet::new();
    for (begin, end) in constants {
        // the structure's size, and the last of the fields
        for (at, what) in [
            (begin + MARK + size_of::<usize>(), "another size for"),
            (end - 1, "another place for the field"),
        ] {
            let mut changed = module.clone();
            changed[at] ^= 0x80;
            let checked = said(&changed);
            let message = checked.output;
            assert!(!checked.passed, "{message}");
            let (_, place) = message.split_once(&format!("_module has {what} \"")).expect(&message);
            assert!(place.contains("\" than nginx's C compiler, and would"), "{message}");
            assert!(message.contains("build it again"), "{message}");
            let name =
                place.split('"').nth(if what == "another place for the field" { 2 } else { 0 });
            refused.insert(format!("{what} {}", name.unwrap()));
        }
    }
    for structure in ["ngx_connection_t", "ngx_event_t", "ngx_http_request_t"] {
        for what in ["another size for", "another place for the field"] {
            assert!(refused.contains(&format!("{what} {structure}")), "{refused:?}");
        }
    }
}

/// The beginning and the end of each constant.
fn constants(module: &[u8]) -> Vec<(usize, usize)> {
    let is_mark =
        |it: &[u8]| it.starts_with(b"pagecache:") && it[10..15].iter().all(u8::is_ascii_digit);
    let marks = module.windows(MARK).enumerate().filter(|(_, it)| is_mark(it));
    let (begins, ends): (Vec<_>, Vec<_>) = marks.partition(|(_, it)| it.ends_with(b":"));
    begins.iter().zip(&ends).for_each(|(begin, end)| assert_eq!(begin.1[..15], end.1[..15]));
    assert_eq!(begins.len(), ends.len());
    begins.iter().zip(&ends).map(|(begin, end)| (begin.0, end.0)).collect()
}

fn configuration(module: &Path, prefix: &Path) -> String {
    format!(
        "load_module {}; pid {prefix}/nginx.pid; error_log {prefix}/error.log;
         events {{ }}
         http {{ access_log off; }}",
        module.display(),
        prefix = prefix.display(),
    )
}
