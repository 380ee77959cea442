//! The flags with which nginx itself is compiled, for the C compiler and for libclang.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;

/// The flags with which nginx's ./configure compiles its sources.
pub struct Flags {
    /// `CC` of nginx's Makefile: a program, and perhaps its first arguments.
    pub compiler: Vec<String>,
    /// `CFLAGS` of nginx's Makefile, without the include paths.
    pub flags: Vec<String>,
    /// All include paths, absolute.
    pub includes: Vec<PathBuf>,
}

impl Flags {
    /// Reads them from the Makefile of the nginx build that nginx-sys has found.
    pub fn of_nginx() -> Result<Flags> {
        let makefile = Path::new(&variable("DEP_NGINX_BUILD_DIR")?).join("Makefile");
        println!("cargo::rerun-if-changed={}", makefile.display());
        let text = fs::read_to_string(&makefile)
            .map_err(|error| format!("{}: {error}", makefile.display()))?;
        let value = |name: &str| {
            words(&text, name).ok_or_else(|| format!("{} has no {name}", makefile.display()))
        };
        let mut flags = Vec::new();
        let mut given = value("CFLAGS")?.into_iter();
        while let Some(flag) = given.next() {
            match flag.strip_prefix("-I") {
                None => flags.push(flag),
                // nginx-sys has made the include paths absolute
                Some("") => drop(given.next()),
                Some(_) => {}
            }
        }
        let includes = env::split_paths(&variable("DEP_NGINX_INCLUDE")?).collect();
        Ok(Flags { compiler: value("CC")?, flags, includes })
    }

    /// The include paths as arguments.
    pub fn include_arguments(&self) -> impl Iterator<Item = String> {
        self.includes.iter().map(|path| format!("-I{}", path.display()))
    }

    /// Further arguments of the preprocessor.
    pub fn defines(&self) -> Vec<String> {
        let mut defines = Vec::new();
        let mut flags = self.flags.iter();
        while let Some(flag) = flags.next() {
            if flag.starts_with("-D") || flag.starts_with("-U") {
                defines.push(flag.clone());
            }
            if flag == "-D" || flag == "-U" {
                defines.extend(flags.next().cloned());
            }
        }
        defines
    }
}

/// The value of a variable of a Makefile, split like in a shell.
fn words(makefile: &str, name: &str) -> Option<Vec<String>> {
    let value =
        |line: &str| Some(line.strip_prefix(name)?.trim_start().strip_prefix('=')?.to_owned());
    shlex::split(&makefile.replace("\\\n", " ").lines().find_map(value)?)
}

/// A variable that cargo sets for build scripts.
pub fn variable(name: &str) -> Result<String> {
    println!("cargo::rerun-if-env-changed={name}");
    env::var(name).map_err(|error| format!("{name}: {error}").into())
}
