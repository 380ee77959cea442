//! The examples in `docs/directives.md` and `docs/keys.md` pass `nginx -t`, each by itself and without a warning.

use crate::harness::*;

#[test]
fn each_example_of_the_reference_passes() {
    let mut count = 0;
    for file in ["docs/directives.md", "docs/keys.md"] {
        let text = document::text(file);
        for block in text.split("\n```nginx\n").skip(1) {
            let block = block.split("\n```").next().unwrap();
            for (http, server) in configurations(block) {
                let checked = plan().without_application().http(&http).locations(&server).check();
                assert!(checked.passed, "{file}:\n{block}\n{}", checked.output);
                for word in ["[warn]", "[error]"] {
                    assert!(!checked.output.contains(word), "{file}:\n{block}\n{}", checked.output);
                }
                count += 1;
            }
        }
    }
    assert!(count > 10, "{count}");
}

/// The text for `http {}` and for `server {}`. Each line of an example may be an alternative to the others.
fn configurations(block: &str) -> Vec<(String, String)> {
    const KEY: &str = "pagecache_key \"$scheme://$host$uri$pagecache_args\";";
    if block.starts_with("upstream pages {") {
        let location = format!("location / {{ {KEY} pagecache_pass pages; }}");
        return vec![(block.to_owned(), location)];
    }
    if block.starts_with("server {") || block.starts_with("geo ") {
        return vec![(block.to_owned(), String::new())];
    }
    if block.starts_with("location ") {
        // the site has a location with this name already
        return vec![(String::new(), block.replace("@application", "@another"))];
    }
    let location = |line: &str| {
        let own = [("pagecache_key ", KEY), ("pagecache_pass ", "pagecache_pass 127.0.0.1;")];
        let rest: String =
            own.iter().filter(|(name, _)| !line.starts_with(name)).map(|(_, text)| *text).collect();
        (String::new(), format!("location / {{ {line} {rest} }}"))
    };
    block.lines().map(location).collect()
}
