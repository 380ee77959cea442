//! Owns the paths of the built and installed parts: from the environment first, then from this repository's
//! `target`, then from PATH.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The module under test: `PAGECACHE_MODULE`, or the one that `scripts/build` has built.
pub fn module() -> PathBuf {
    from_environment("PAGECACHE_MODULE", "target/ngx_http_pagecache_module.so")
}

/// The nginx that loads it: `PAGECACHE_NGINX`, or the installed one.
pub fn nginx() -> PathBuf {
    env::var_os("PAGECACHE_NGINX").map_or_else(|| installed("nginx"), PathBuf::from)
}

/// The version of that nginx: `nginx version: nginx/1.22.1`, after which a vendor may add words.
pub fn nginx_version() -> [u32; 3] {
    let said = Command::new(nginx()).arg("-v").output().unwrap().stderr;
    let text = String::from_utf8(said).unwrap();
    let version = text.split(['/', ' ', '\n']).find(|word| word.starts_with("1.")).unwrap();
    let numbers: Vec<u32> = version.split('.').map(|number| number.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// Whether that nginx was configured with this argument.
pub fn nginx_has(word: &str) -> bool {
    let said = Command::new(nginx()).arg("-V").output().unwrap().stderr;
    String::from_utf8(said).unwrap().split_whitespace().any(|argument| argument == word)
}

/// Debian's own nginx, also if another one is under test: Debian's modules load into no other.
pub fn debian_nginx() -> PathBuf {
    existing(PathBuf::from("/usr/sbin/nginx"))
}

/// One of the modules that Debian packages for its nginx.
pub fn debian_module(name: &str) -> PathBuf {
    existing(Path::new("/usr/lib/nginx/modules").join(name))
}

/// A program of the Python environment that contains Django and uWSGI: `PAGECACHE_VENV`.
pub fn venv(program: &str) -> PathBuf {
    existing(from_environment("PAGECACHE_VENV", "target/venv").join("bin").join(program))
}

/// The packages from npm that `tests/clients/package.json` names: `PAGECACHE_NODE_MODULES`.
pub fn node_modules() -> PathBuf {
    from_environment("PAGECACHE_NODE_MODULES", "target/clients/node_modules")
}

/// The Python packages that `tests/clients/http3.txt` names: `PAGECACHE_HTTP3`.
pub fn http3_packages() -> PathBuf {
    existing(from_environment("PAGECACHE_HTTP3", "target/http3"))
}

/// An installed program; the system folders are searched even if PATH does not contain them.
pub fn installed(program: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("{program} is not installed"))
}

fn from_environment(variable: &str, default: &str) -> PathBuf {
    existing(env::var_os(variable).map_or_else(|| root().join(default), PathBuf::from))
}

#[track_caller]
fn existing(path: PathBuf) -> PathBuf {
    assert!(Path::exists(&path), "{} is missing: run scripts/test", path.display());
    path
}
